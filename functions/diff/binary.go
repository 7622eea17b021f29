package diff

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"
)

// leastBinary is the length, in characters, from which a string that is base64
// is taken for bytes.
const leastBinary = 256

// maxHash bounds how much is hashed to show a value.
const maxHash = 4 << 20

// readable is a value of a change for people: bytes as size and hash.
func readable(v any) any {
	if s, ok := v.(string); ok {
		if size, hash, ok := bytesOf(s); ok {
			return fmt.Sprintf(shownBytes, size, hash)
		}
	}
	return v
}

// shownBytes stands for bytes.
const shownBytes = "(%d bytes, sha256 %s)"

// sizeOf is the size of bytes, in a manifest or as readable shows them.
func sizeOf(s string) (size int, ok bool) {
	if strings.HasPrefix(s, "(") {
		_, err := fmt.Sscanf(s, "(%d bytes, sha256 ", &size)
		return size, err == nil
	}
	size, _, ok = bytesOf(s)
	return size, ok
}

// bytesOf tells whether a string holds bytes as base64, of which people read
// size and hash at most.
func bytesOf(s string) (size int, hash string, ok bool) {
	if len(s) < leastBinary || len(s) > maxHash || len(s)%4 != 0 {
		return 0, "", false
	}
	for i := range len(s) - 2 {
		if c := s[i]; !isLetter(c) && !isDigit(c) && c != '+' && c != '/' {
			return 0, "", false
		}
	}
	return hashOf(s)
}

func hashOf(s string) (size int, hash string, ok bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return 0, "", false
	}
	sum := sha256.Sum256(b)
	return len(b), hex.EncodeToString(sum[:8]), true
}

// withoutBytes is a manifest whose binaryData, which a ConfigMap has, shows the
// size and hash of each value. Everywhere else only long base64 does.
func withoutBytes(m map[string]any) map[string]any {
	data, ok := m["binaryData"].(map[string]any)
	if !ok || m["kind"] != "ConfigMap" || len(data) == 0 {
		return m
	}
	shown := make(map[string]any, len(data))
	for key, v := range data {
		shown[key] = v
		if s, ok := v.(string); ok {
			if size, hash, ok := hashOf(s); ok {
				shown[key] = fmt.Sprintf(shownBytes, size, hash)
			}
		}
	}
	m = maps.Clone(m)
	m["binaryData"] = shown
	return m
}
