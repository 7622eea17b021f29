package model

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// configFile is the configuration file of all replicas, as a ConfigMap is mounted: a
// link to a folder that is exchanged whole.
type configFile struct {
	dir        string
	sinks      *sinks
	namespaces []string

	mu       sync.Mutex
	made     int
	settings []Setting
	err      error
}

func newConfigFile(t *testing.T, s *sinks, namespaces []string) *configFile {
	t.Helper()
	f := &configFile{dir: t.TempDir(), sinks: s, namespaces: namespaces}
	f.write(map[string][]string{"configmaps": namespaces, "widgets." + group: namespaces}, 0)
	require.NoError(t, f.err)
	require.NoError(t, os.Symlink(filepath.Join("..data", "config.toml"), f.path()))
	return f
}

func (f *configFile) path() string { return filepath.Join(f.dir, "config.toml") }

// set writes another one: other namespaces for each resource, and another chain.
func (f *configFile) set(d draw) {
	n := f.namespaces
	scopes := [][]string{n, n[:2], n[:1], {n[0], n[2]}, nil}
	f.write(map[string][]string{
		"configmaps": scopes[d.which%len(scopes)], "widgets." + group: scopes[d.which/8%len(scopes)],
	}, d.how)
}

// write exchanges the file. Each is another one, if only by a comment.
func (f *configFile) write(scope map[string][]string, chain int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made++
	version := fmt.Sprint("..version-", f.made)
	path := filepath.Join(f.dir, version, "config.toml")
	text := fmt.Sprintf("# %s\n%s%s", version, resourcesText(scope), f.chainText(chain))
	f.err = os.Mkdir(filepath.Dir(path), 0o700)
	if f.err == nil {
		f.err = os.WriteFile(path, []byte(text), 0o600)
	}
	if f.err == nil {
		f.err = os.Symlink(version, filepath.Join(f.dir, "..data_tmp"))
	}
	f.settings = append(f.settings, Setting{time.Now(), scope})
	if f.err == nil {
		f.err = os.Rename(filepath.Join(f.dir, "..data_tmp"), filepath.Join(f.dir, "..data"))
	}
}

func resourcesText(scope map[string][]string) string {
	var b strings.Builder
	for _, resource := range []string{"configmaps", "widgets." + group} {
		fmt.Fprintf(&b, "[[resource]]\nkind = %q\nlabelSelector = %q\n", resource, selector)
		if namespaces := scope[resource]; len(namespaces) > 0 {
			fmt.Fprintf(&b, "namespaces = [\"%s\"]\n", strings.Join(namespaces, `", "`))
		}
	}
	return b.String()
}

// chainText is one of some chains; the first remote step is always the same.
func (f *configFile) chainText(which int) string {
	text := map[bool]string{true: "[[handler]]\nname = \"diff\"\n"}[which%2 == 1]
	chains := [][]string{{passOne, endOne}, {passOne, passTwo, endTwo}, {passOne, endTwo}}
	for _, path := range chains[which/2%len(chains)] {
		text += fmt.Sprintf("[[handler]]\nurl = %q\n", f.sinks.URL+path)
	}
	return text
}

// written are the files so far.
func (f *configFile) written() ([]Setting, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.settings), f.err
}

func (f *configFile) scopeText() string {
	settings, err := f.written()
	return fmt.Sprint(settings[len(settings)-1].Scope, err)
}
