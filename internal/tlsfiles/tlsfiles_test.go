package tlsfiles

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var names = Files{Cert: "CERT", Key: "KEY", CA: "CA"}

// selfSigned gives a certificate and its key as PEM.
func selfSigned(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	require.NoError(t, err)
	private, err := x509.MarshalECPrivateKey(k)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, content, 0o600))
}

func TestFilesThatChangeAreFollowed(t *testing.T) {
	dir := t.TempDir()
	files := Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), CA: filepath.Join(dir, "ca.crt")}
	cert, key := selfSigned(t, 1)
	write(t, files.Cert, cert)
	write(t, files.Key, key)
	write(t, files.CA, cert)
	var said []error
	l, err := Open(files, names, func(err error) { said = append(said, err) })
	require.NoError(t, err)
	first := l.Current()
	require.Equal(t, int64(1), first.Pair.Leaf.SerialNumber.Int64())
	require.Same(t, first, l.Look(), "nothing has changed")

	// Half of a change is told once and not used; the whole is.
	cert, key = selfSigned(t, 2)
	write(t, files.Cert, cert)
	require.Same(t, first, l.Look())
	require.Same(t, first, l.Look())
	require.Len(t, said, 1)
	require.ErrorContains(t, said[0], "CERT and KEY: want a certificate and its key as PEM")
	require.ErrorContains(t, said[0], "what was read before stays in use")
	write(t, files.Key, key)
	require.Equal(t, int64(2), l.Look().Pair.Leaf.SerialNumber.Int64())

	require.NoError(t, os.Remove(files.CA))
	require.Equal(t, int64(2), l.Look().Pair.Leaf.SerialNumber.Int64())
	require.Len(t, said, 2)
	require.EqualError(t, said[1], "CA: cannot be read: no such file or directory; what was read before stays in use")
}

func TestFilesThatCannotBeAreOneLine(t *testing.T) {
	dir := t.TempDir()
	cert, key := selfSigned(t, 1)
	_, other := selfSigned(t, 2)
	path := func(name string, content []byte) string {
		p := filepath.Join(dir, name)
		write(t, p, content)
		return p
	}
	c, k, o, bad := path("c", cert), path("k", key), path("o", other), path("bad", []byte("no PEM"))
	for want, files := range map[string]Files{
		"CERT and KEY: want both or none":                     {Cert: c},
		"KEY: cannot be read: no such file or directory":      {Cert: c, Key: filepath.Join(dir, "none")},
		"CERT and KEY: want a certificate and its key as PEM": {Cert: c, Key: o},
		"CA: the file holds no PEM certificate":               {Cert: c, Key: k, CA: bad},
	} {
		_, err := Open(files, names, nil)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), dir)
		require.NotContains(t, err.Error(), "\n")
	}
}
