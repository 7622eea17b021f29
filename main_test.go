package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryFunctionOfAFolderIsBuiltIn(t *testing.T) {
	folders, err := filepath.Glob("functions/*/cmd")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(folders), 4)
	require.Len(t, functions(), len(folders))
	for _, f := range folders {
		require.Contains(t, functions(), filepath.Base(filepath.Dir(f)))
	}
}

// The tables of the documentation are written by hand and checked here.
func TestEverySettingOfAFunctionIsDocumentedWithItsKey(t *testing.T) {
	read := func(path string) string {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		return string(text)
	}
	readme, inDepth := read("README.md"), read("docs/configuration.md")
	for name, f := range functions() {
		own := read("functions/" + name + "/README.md")
		require.Contains(t, readme, "functions/"+name+"/README.md")
		for setting, key := range f.Settings(name) {
			require.True(t, strings.HasPrefix(setting, strings.ToUpper(name)+"_"))
			for _, text := range []string{readme, own} {
				require.Contains(t, text, "`"+setting+"`", name)
				require.Contains(t, text, "`"+key+"`", name)
			}
			require.Contains(t, inDepth, "`"+key+"`", name)
		}
	}
}

// Who comes here first finds two commands, and CI runs the one that tests.
func TestTheREADMEBeginsWithHowToSeeAndHowToTestIt(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	top, _, found := strings.Cut(string(text), "\n## ")
	require.True(t, found)
	for _, want := range []string{"\n```sh\nmake demo\n```\n", "\n```sh\nmake test\n```\n", "(DEVELOPMENT.md)"} {
		require.Contains(t, top, want)
	}
	ci, err := os.ReadFile(".ci/run")
	require.NoError(t, err)
	require.Regexp(t, `(?m)^make test( |$)`, string(ci))
}
