package credential

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The quick no spares nearly all texts a closer look. It must not spare one that
// holds a credential, as it is or as JSON writes it.
func TestTheQuickNoIsNeverWrong(t *testing.T) {
	raw, err := os.ReadFile("../testdata/credentials.txt")
	require.NoError(t, err)
	texts := strings.Split(string(raw), "\n")
	texts = append(texts, "token=x", "pw:y ", "a\tghp_0123456789abcdefghij", "<b>Bearer abcdefgh1234</b>", "x@y:z@tcp(h)", "img@sha256:00 u:p@tcp(h)")
	var r *Rules
	found := 0
	for _, text := range texts {
		if len(r.Text(nil, text, false)) == 0 {
			continue
		}
		found++
		require.True(t, r.Suspicious([]byte(text)), text)
		quoted, err := json.Marshal(text)
		require.NoError(t, err)
		require.True(t, r.Suspicious(quoted[1:len(quoted)-1]), "%s", quoted)
	}
	require.Greater(t, found, 60)
}

func FuzzTheQuickNo(f *testing.F) {
	f.Add("postgres://u:p@h", "token", "=", "ghp_0123456789abcdefghij")
	f.Add("\n", "authorization", ": ", "Basic dXNlcjpwdw==")
	f.Fuzz(func(t *testing.T, before, name, between, value string) {
		var r *Rules
		for _, text := range []string{before + name + between + value, name + between + value + before, before + value} {
			if len(r.Text(nil, text, false)) > 0 {
				require.True(t, r.Suspicious([]byte(text)), "%q", text)
			}
		}
	})
}
