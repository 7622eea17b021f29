// Package signature signs requests, and checks signatures, in the form of Standard
// Webhooks (https://github.com/standard-webhooks/standard-webhooks, version 1):
// HMAC-SHA256 over the id, the time and the body.
package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a signed request.
const (
	ID        = "Webhook-Id"
	Timestamp = "Webhook-Timestamp" // in seconds since 1970
	Signature = "Webhook-Signature" // one or more of v1,<base64>, with blanks between
)

// Window is how far the time of a request may be from now: for longer nobody can
// send again what was overheard.
const Window = 5 * time.Minute

// The least and the most bytes of a key, as Standard Webhooks has it.
const (
	minKey = 24
	maxKey = 64
)

const prefix = "whsec_"

// Keys are secrets that are valid at the same time, so that one can take the
// place of another. What is signed is signed with all of them.
type Keys struct{ all [][]byte }

// Decode reads keys, separated by commas: whsec_ and 24 to 64 bytes in base64.
// The error does not hold them.
func (k *Keys) Decode(text string) error {
	k.all = nil
	if strings.TrimSpace(text) == "" {
		return nil
	}
	for part := range strings.SplitSeq(text, ",") {
		encoded, ok := strings.CutPrefix(strings.TrimSpace(part), prefix)
		key, err := base64.StdEncoding.DecodeString(encoded)
		if !ok || err != nil || len(key) < minKey || len(key) > maxKey {
			return ErrKey
		}
		k.all = append(k.all, key)
	}
	return nil
}

// ErrKey says what a key has to be.
var ErrKey = badKey{}

type badKey struct{}

func (badKey) Error() string {
	return "bad value: want keys of the form whsec_ and 24 to 64 bytes in base64, separated by commas: echo whsec_$(head -c 32 /dev/urandom | base64)"
}

// Explain is the text that may be shown.
func (b badKey) Explain() string { return b.Error() }

// Empty tells that there are none, so that nothing is signed or checked.
func (k Keys) Empty() bool { return len(k.all) == 0 }

// String hides the keys.
func (k Keys) String() string {
	if k.Empty() {
		return ""
	}
	return "set"
}

// GoString hides them from %#v, too.
func (k Keys) GoString() string { return k.String() }

// Sign sets the headers of a request with this id and body.
func (k Keys) Sign(h http.Header, id string, body []byte, now time.Time) {
	if k.Empty() {
		return
	}
	at := strconv.FormatInt(now.Unix(), 10)
	signatures := make([]string, len(k.all))
	for i, key := range k.all {
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(sum(key, id, at, body))
	}
	h.Set(ID, id)
	h.Set(Timestamp, at)
	h.Set(Signature, strings.Join(signatures, " "))
}

// What Verify finds.
var (
	ErrMissing = errors.New("the request is not signed: want the headers webhook-id, webhook-timestamp and webhook-signature")
	ErrTime    = errors.New("the time of the signature is more than 5 minutes from now: an old request, or a clock that is wrong")
	ErrWrong   = errors.New("the signature is not valid: another key, or a changed request")
)

// Verify is nil if one of the signatures was made with one of the keys.
func (k Keys) Verify(h http.Header, body []byte, now time.Time) error {
	id, at, signatures := h.Get(ID), h.Get(Timestamp), h.Get(Signature)
	if id == "" || at == "" || signatures == "" {
		return ErrMissing
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || strconv.FormatInt(seconds, 10) != at {
		return ErrWrong
	}
	for _, key := range k.all {
		want := sum(key, id, at, body)
		for given := range strings.FieldsSeq(signatures) {
			encoded, ok := strings.CutPrefix(given, "v1,")
			got, err := base64.StdEncoding.DecodeString(encoded)
			if !ok || err != nil || !hmac.Equal(got, want) {
				continue
			}
			if d := now.Sub(time.Unix(seconds, 0)); d > Window || d < -Window {
				return ErrTime // said only to who has the key
			}
			return nil
		}
	}
	return ErrWrong
}

func sum(key []byte, id, at string, body []byte) []byte {
	m := hmac.New(sha256.New, key)
	_, _ = m.Write([]byte(id + "." + at + ".")) // a hash takes everything
	_, _ = m.Write(body)
	return m.Sum(nil)
}
