package config

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// whole are good files with a secret in each place where one may stand.
var whole = map[string]string{
	"c.toml": `[[resource]]
kind = "deployment"
namespaces = ["a", "b"]

[[handler]]
name = "slack"
webhookURL = "https://hooks.example.com/secret-word"
clusterName = 'secret-word'

[[handler]]
url = "https://user:secret-word@audit/secret-word"
`,
	"c.yaml": `resource:
- kind: deployment
  namespaces: [a, b]
handler:
- name: slack
  webhookURL: https://hooks.example.com/secret-word
  clusterName: 'secret-word'
- {name: audit, url: "https://user:secret-word@audit/secret-word"}
`,
	"c.json": `{
  "resource": [{"kind": "deployment", "namespaces": ["a", "b"]}],
  "handler": [
    {"name": "slack", "webhookURL": "https://hooks.example.com/secret-word", "clusterName": "secret-word"},
    {"url": "https://user:secret-word@audit/secret-word"}
  ]
}
`,
}

// A slip of the finger anywhere: one character less, one more, or an end too
// early.
func TestAFileWithOneMistakeNeverShowsItsSecrets(t *testing.T) {
	for name, text := range whole {
		t.Run(name, func(t *testing.T) {
			_, err := readFile(write(t, name, text))
			require.NoError(t, err)
			path, refused := write(t, name, ""), 0
			for i := range text {
				mistakes := []string{text[:i], text[:i] + text[i+1:]}
				for _, c := range []string{"\"", "\n", "\t", ":", "#", "[", "}", "\\", "\xff"} {
					mistakes = append(mistakes, text[:i]+c+text[i:])
				}
				for _, mistake := range mistakes {
					require.NoError(t, os.WriteFile(path, []byte(mistake), 0o600))
					if _, err := readFile(path); err != nil {
						refused++
						require.NotContains(t, err.Error(), "secret-word", mistake)
						require.NotContains(t, err.Error(), "\n", mistake)
						require.Regexp(t, `^(configuration file )?`+regexp.QuoteMeta(path)+`: .+`, err.Error())
					}
				}
			}
			require.Greater(t, refused, len(text), "most of it is noticed")
		})
	}
}
