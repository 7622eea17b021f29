package bearer

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	oldToken = "0ld-token/with+signs=="
	newToken = "n3w-token/with+signs=="
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func header(authorization ...string) http.Header { return http.Header{"Authorization": authorization} }

// mounted is a file as Kubernetes mounts it: a link to one in a folder that is a
// link itself. renew puts another folder in its place.
func mounted(t *testing.T, text string) (path string, renew func(string)) {
	t.Helper()
	dir, n := t.TempDir(), 0
	renew = func(text string) {
		n++
		version := filepath.Join(dir, fmt.Sprint("..", n))
		require.NoError(t, os.Mkdir(version, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(version, "token"), []byte(text), 0o600))
		require.NoError(t, os.Symlink(version, filepath.Join(dir, "..new")))
		require.NoError(t, os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")))
	}
	renew(text)
	require.NoError(t, os.Symlink(filepath.Join("..data", "token"), filepath.Join(dir, "token")))
	return filepath.Join(dir, "token"), renew
}

func TestATokenThatIsRenewedIsSent(t *testing.T) {
	path, renew := mounted(t, "\n "+oldToken+" \n\n")
	var said []error
	token, err := Open("KW_TOKEN_FILE", path, func(err error) { said = append(said, err) })
	require.NoError(t, err)
	h := http.Header{}
	require.Equal(t, Sent(oldToken), token.Send(h))
	require.Equal(t, "Bearer "+oldToken, h.Get("Authorization"))

	renew(newToken)
	require.Equal(t, newToken, token.file.Look())
	renew("two\nlines")
	require.Equal(t, newToken, token.file.Look())
	require.NoError(t, os.Remove(path))
	require.Equal(t, newToken, token.file.Look())
	require.Len(t, said, 1, "once a minute")
	require.EqualError(t, said[0], "KW_TOKEN_FILE: the file holds several lines: want one, with the token; what was read before stays in use")

	require.Empty(t, (*Token)(nil).Send(h))
	require.NotContains(t, fmt.Sprintf("%v %s %#v", Sent(oldToken), Sent(oldToken), Sent(oldToken)), oldToken)
}

func TestAFileThatHoldsNoTokenIsOneLineWithoutIt(t *testing.T) {
	const secret = "s3cr3t-s3cr3t-s3cr3t"
	dir := t.TempDir()
	for want, path := range map[string]string{
		"T: cannot be read: no such file or directory":                             filepath.Join(dir, "none"),
		"T: cannot be read: it is no regular file":                                 dir,
		"T: cannot be read: it is larger than 1 MiB":                               write(t, strings.Repeat(secret+"\n", 100_000)),
		"T: the file is empty: want a token":                                       write(t, " \n\n"),
		"T: a token holds a blank or a character that no header may have":          write(t, secret+" "+secret),
		"T: a token is longer than 16384 bytes":                                    write(t, strings.Repeat(secret, 1000)),
		"T: the file holds several lines: want one, with the token":                write(t, secret+"\n"+secret),
		"T: token 2 is shorter than 16 characters: openssl rand -hex 32 makes one": write(t, secret+"\nshort"),
		"T: the file holds more than 16 tokens":                                    write(t, strings.Repeat(secret+"\n", 17)),
	} {
		_, err := Open("T", path, nil)
		if strings.Contains(want, "token 2") || strings.Contains(want, "16 tokens") {
			require.Error(t, err)
			_, err = OpenAll("T", path, nil)
		}
		require.EqualError(t, err, want)
	}
}

func TestOneOfTheTokensIsEnough(t *testing.T) {
	path, renew := mounted(t, oldToken+"\n"+newToken+"\n")
	tokens, err := OpenAll("TOKEN_FILE", path, nil)
	require.NoError(t, err)
	for _, good := range []string{"Bearer " + oldToken, "bearer  " + newToken + " "} {
		require.NoError(t, tokens.Check(header(good)))
	}
	for bad, want := range map[string]error{
		"": ErrMissing, "Bearer": ErrMissing, "Bearer ": ErrMissing, "Basic " + oldToken: ErrMissing, oldToken: ErrMissing,
		"Bearer " + oldToken[1:]: ErrWrong, "Bearer " + oldToken + "\n" + newToken: ErrWrong, "Bearer " + oldToken + "x": ErrWrong,
	} {
		require.Equal(t, want, tokens.Check(header(bad)), bad)
	}
	require.Equal(t, ErrMissing, tokens.Check(http.Header{}))
	require.Equal(t, ErrMissing, tokens.Check(header("Bearer "+oldToken, "Bearer "+newToken)), "one of several readers might take the other")

	renew(newToken)
	tokens.file.Look()
	require.Equal(t, ErrWrong, tokens.Check(header("Bearer "+oldToken)))
	require.NoError(t, tokens.Check(header("Bearer "+newToken)))
	require.NoError(t, (*Tokens)(nil).Check(nil))
}

func TestATokenIsHiddenInEachOfItsForms(t *testing.T) {
	token := Sent(oldToken)
	for text, want := range map[string]string{
		"no token here":                             "no token here",
		"bad Bearer " + oldToken + ", go":           "bad Bearer (hidden), go",
		oldToken + oldToken:                         "(hidden)(hidden)",
		"?t=" + url.QueryEscape(oldToken) + "&x":    "?t=(hidden)&x",
		"cut off: " + oldToken[:10]:                 "cut off: (hidden)",
		"cut off: " + oldToken + " " + oldToken[:8]: "cut off: (hidden) (hidden)",
	} {
		require.Equal(t, want, token.Hide(text))
	}
	require.Equal(t, "as it was", Sent("").Hide("as it was"))
}
