package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A configuration file of any content is read, or refused in one line.
func FuzzFile(f *testing.F) {
	for _, text := range []string{
		"[[resource]]\nkind = \"deployment\"\n[[handler]]\nname = \"diff\"\n", "resource:\n- kind: pods\n  namespaces: [a, b]\nhandler:\n- url: http://localhost:8080\n",
		`{"resource":[{"kind":"pods","labelSelector":"app in (a)"}],"handler":[{"name":"ignoreEvents","events":["Add"]}]}`,
		"a: &a [*a]", "[[resource]]\nkind = 3", "{", "\xff\xfe",
	} {
		for _, kind := range []string{"toml", "yaml", "json"} {
			f.Add(kind, text)
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, kind, text string) {
		switch kind {
		case "toml", "yaml", "json":
		default:
			t.Skip("no kind of file")
		}
		path := filepath.Join(dir, "config."+kind)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		// The program puts what is left on one line.
		if _, err := readFile(path); err != nil && strings.Count(strings.TrimSpace(err.Error()), "\n") > 1 {
			t.Fatalf("not one line: %q", err)
		}
	})
}
