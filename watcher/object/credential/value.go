package credential

import (
	"strings"
	"unicode"
)

// placeholder is how what stands in a credential's place begins.
const placeholder = "redacted:"

// IsValue tells whether a value under a name of that strength is a credential.
// It is not where it is empty, a switch, the length of time, a reference to
// another place, or redacted already.
func IsValue(s Strength, v string) bool {
	t := strings.TrimSpace(v)
	if s == No || t == "" || strings.HasPrefix(t, placeholder) || isReference(t) {
		return false
	}
	switch strings.ToLower(t) {
	case "true", "false", "yes", "no", "on", "off", "null", "none", "nil", "~", "enabled", "disabled", "required", "optional", "{}", "[]", `""`, "''":
		return false
	}
	if s == Password || s == Header {
		return true
	}
	return !isNumber(t) && !isPath(t)
}

// isReference tells whether a text only says where the value comes from:
// $(PASSWORD), ${PASSWORD}, {{ .Values.password }}, <password>, ****.
func isReference(t string) bool {
	switch {
	case strings.HasPrefix(t, "$(") && strings.HasSuffix(t, ")"), strings.HasPrefix(t, "{{") && strings.HasSuffix(t, "}}"):
		return true
	case strings.HasPrefix(t, "${") && strings.HasSuffix(t, "}"):
		return !strings.ContainsAny(t[2:], ":-=?") // one with a default has it behind these
	case strings.HasPrefix(t, "$"):
		return isIdentifier(t[1:])
	case strings.HasPrefix(t, "%(") && strings.HasSuffix(t, ")s"):
		return true
	case strings.HasPrefix(t, "<") && strings.HasSuffix(t, ">"):
		return !strings.ContainsAny(t, "/=\n")
	}
	return strings.Trim(t, "*") == "" || strings.Trim(t, "xX") == ""
}

func isIdentifier(s string) bool {
	for i, c := range s {
		if c != '_' && !unicode.IsLetter(c) && (i == 0 || !unicode.IsDigit(c)) {
			return false
		}
	}
	return s != ""
}

// isNumber tells whether a text is a number, with a unit perhaps: 3600, 24h, 10Mi.
func isNumber(t string) bool {
	rest := strings.TrimLeft(t, "0123456789.")
	return rest != t && len(rest) <= 3 && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ%") == "" && len(t) < 12
}

// isPath tells whether a text is a file's: /etc/token.
func isPath(t string) bool {
	return (strings.HasPrefix(t, "/") || strings.HasPrefix(t, "./")) && strings.Count(t, "/") > 1 && !strings.ContainsAny(t, "+= \n")
}
