package credential

import (
	"strings"
	"unicode"
)

// Strength says how surely a name is that of a credential.
type Strength int

// The strengths.
const (
	No       Strength = iota
	Weak              // token, key, secret: a short number or the name of something is none
	Password          // password: whatever it is
	Header            // Authorization: the scheme in front is none
)

// Name tells whether the values of that name are credentials.
func (r *Rules) Name(name string) Strength {
	if len(name) > maxName || len(name) < 2 {
		return No
	}
	if r != nil && len(r.keep)+len(r.more) > 0 {
		lower := strings.ToLower(name)
		if anyMatches(r.keep, lower) {
			return No
		}
		if anyMatches(r.more, lower) {
			return Password
		}
	}
	if !r.has(Names) || !hasStem(name) {
		return No
	}
	return judge(words(name))
}

// MayName is a quick no for most names.
func (r *Rules) MayName(name []byte) bool {
	return hasStem(name) || r != nil && len(r.more) > 0
}

// maxName is the longest name, in bytes, that is looked at.
const maxName = 253

// hasStem is a quick no for most names.
func hasStem[T string | []byte](name T) bool {
	for i := 0; i+2 < len(name); i++ {
		if starts[pairOf(name[i], name[i+1])]&stemStart != 0 && isStem(name[i], name[i+1], name[i+2]) {
			return true
		}
	}
	return false
}

// isStem tells whether a word that judge knows may begin with these three
// bytes.
func isStem(a, b, c byte) bool {
	b, c = b|0x20, c|0x20
	switch a | 0x20 {
	case 'p': // pass, pwd, pw
		return b == 'a' && c == 's' || b == 'w'
	case 's': // secret, sas
		return b == 'e' && c == 'c' || b == 'a' && c == 's'
	case 't': // token
		return b == 'o' && c == 'k'
	case 'k': // key
		return b == 'e' && c == 'y'
	case 'c': // credential, connection string, cookie
		return b == 'r' && c == 'e' || b == 'o' && (c == 'n' || c == 'o')
	case 'a': // authorization
		return b == 'u' && c == 't'
	case 'j': // jwt
		return b == 'w'
	case 'd': // docker config
		return b == 'o' && c == 'c'
	case 'h': // htpasswd
		return b == 't' && c == 'p'
	}
	return false
}

// words splits a name at what is no letter and no digit and where lower case
// becomes upper: dbPassword, DB_PASSWORD, db-password. A domain in front of a
// slash does not count.
func words(name string) []string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		name = name[i+1:]
	}
	var all []string
	start := 0
	runes := []rune(name)
	flush := func(end int) {
		if end > start {
			all = append(all, strings.ToLower(string(runes[start:end])))
		}
	}
	for i, c := range runes {
		switch {
		case !unicode.IsLetter(c) && !unicode.IsDigit(c):
			flush(i)
			start = i + 1
		case i > start && unicode.IsUpper(c) && (unicode.IsLower(runes[i-1]) || unicode.IsDigit(runes[i-1])),
			i > start && unicode.IsUpper(c) && i+1 < len(runes) && unicode.IsLower(runes[i+1]):
			flush(i)
			start = i
		}
	}
	flush(len(runes))
	return all
}

// passwords are words that mean one wherever they stand.
var passwords = set("password passwords passwd passwort passphrase pwd userpassword dbpassword rootpassword")

// weak are words that mostly mean a credential.
var weak = set("secret secrets token tokens credential credentials creds apikey apikeys apitoken accesskey secretkey privatekey " +
	"authtoken accesstoken clientsecret appsecret jwt")

// keysOf are what a key belongs to if it is a credential.
var keysOf = set("api access private secret encryption signing master auth account shared license ssh session crypto hmac jwt " +
	"storage service app admin root deploy write ingest integration subscription functions host webhook cipher aes fernet encrypt client")

// others say that a name with such a word is about a credential and none: its
// file, its length, the name of the Secret that holds it.
var others = set("name names ref refs reference file files filename path paths dir directory mount mounted mountpath url urls uri endpoint " +
	"type kind ttl expiry expiration expires expire seconds minutes hours days ms timeout duration length size count " +
	"enabled disabled enable disable required optional allowed policy policies namespace version header headers field fields provider issuer " +
	"audience audiences class store stores engine manager controller rotation rotate interval period prefix suffix format algorithm " +
	"user username users review request requests reviewer selector label annotation group groups mode backend source template " +
	"generator min max limit limits usage scope scopes claim env var variable at age use uses strategy rules location " +
	"server host port domain change changed changes updated created status state ready hint help description title text " +
	"cache bucket buckets index pattern regex auto automount reset recovery validator validation manage management method methods grant " +
	"server service servicename sync syncer operator driver id ids encoding checksum schema")

// refers are words that make a secret the name of one.
var refers = set("existing image pull tls ca cert certificate default default external ingress basic from for of the my bootstrap")

func set(list string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(list) {
		m[w] = true
	}
	return m
}

// judge weighs the words of a name.
func judge(all []string) Strength {
	n := len(all)
	if n == 0 {
		return No
	}
	last := all[n-1]
	if n > 1 && len(last) <= 2 && strings.Trim(last, "0123456789") == "" { // PASSWORD_2
		return judge(all[:n-1])
	}
	pair := last
	if n > 1 {
		pair = all[n-2] + " " + last
	}
	switch {
	case last == "authorization" || pair == "auth header":
		return Header
	case pair == "secret id", pair == "connection string", pair == "sas token", pair == "pass phrase", pair == "docker config",
		last == "dockerconfigjson", last == "dockercfg", last == "htpasswd", last == "cookie" && n == 1, pair == "session cookie":
		return Weak
	case others[last]:
		return No
	case last == "key" || last == "keys":
		if n > 1 && keysOf[all[n-2]] {
			return Weak
		}
		return No
	case last == "pass" || last == "pw":
		return Password
	}
	found := No
	for i, w := range all {
		switch {
		case passwords[w]:
			found = max(found, Password)
		case weak[w] && i > 0 && refers[all[i-1]] && (w == "secret" || w == "secrets"):
		case weak[w] && (i == n-1 || last == "value" || last == "data" || last == "plain" || last == "text" || last == "base64" || last == "b64"):
			found = max(found, Weak)
		}
	}
	if last == "value" || last == "data" || last == "base64" { // API_KEY_VALUE
		if found == No && n > 1 {
			return judge(all[:n-1])
		}
	}
	return found
}
