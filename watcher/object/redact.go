package object

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/kwatchman/kwatchman/watcher/object/credential"
)

// Redactor replaces the values of Secrets, and what looks like a credential in
// any kind, by a keyed hash, so that a change shows as a change and no value is
// kept or leaves.
type Redactor struct {
	key   []byte
	rules *credential.Rules
}

// NewRedactor hashes with key, which has to be secret too: with it, a guess at
// a short value could be tested. rules say what is a credential outside of
// Secrets; nil are those that are built in.
func NewRedactor(key []byte, rules *credential.Rules) *Redactor {
	return &Redactor{key: key, rules: rules}
}

// RandomKey is a key for a watcher that keeps no state.
func RandomKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return key
}

// secret redacts a Secret's manifest: every value of data and stringData, and
// any member that a Secret does not have, however it is spelt.
func (r *Redactor) secret(d *desk) error {
	for i, m := range d.top {
		switch string(m.name) {
		case "apiVersion", "kind", "type", "immutable":
			continue
		}
		if string(m.value) == "null" {
			continue
		}
		values, ok, err := d.members(d.parts[:0], m.value)
		d.parts = values
		if err != nil {
			return err
		}
		if !ok {
			d.top[i].value = r.hash(m.value) // no map: nothing of it may pass
			continue
		}
		values = sortMembers(values)
		for j := range values {
			values[j].value = r.hash(values[j].value)
		}
		d.top[i].value = appendMembers(nil, values)
	}
	return nil
}

func (r *Redactor) hash(value []byte) json.RawMessage { return quote(r.placeholder(value)) }

// placeholder stands for a value.
func (r *Redactor) placeholder(value []byte) string {
	mac := hmac.New(sha256.New, r.key)
	_, _ = mac.Write(value) // never fails
	return "redacted:" + hex.EncodeToString(mac.Sum(nil)[:4])
}
