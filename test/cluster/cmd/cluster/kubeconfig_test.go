package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFreePortsDiffer(t *testing.T) {
	p, err := freePorts()
	require.NoError(t, err)
	seen := map[int]bool{}
	for _, port := range []int{p.EtcdClient, p.EtcdPeer, p.APIServer, p.ControllerManager} {
		require.NotZero(t, port)
		require.False(t, seen[port], "port %d twice", port)
		seen[port] = true
	}
}

func TestKubeconfigIsPrivateAndNeedsNoOtherFile(t *testing.T) {
	d := dir(t.TempDir())
	require.NoError(t, d.writePKI())
	require.NoError(t, d.writeKubeconfig("https://127.0.0.1:6443"))

	info, err := os.Stat(d.kubeconfig())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	content, err := os.ReadFile(d.kubeconfig())
	require.NoError(t, err)
	require.Contains(t, string(content), "server: https://127.0.0.1:6443\n")
	require.NotContains(t, string(content), string(d))

	keys, err := filepath.Glob(d.pki("*"))
	require.NoError(t, err)
	require.Len(t, keys, 6, "ca.crt, server and admin with their keys, service-account.key")
	for _, key := range keys {
		info, err := os.Stat(key)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), key)
	}
}

func TestCertificatesAreOfOneAuthority(t *testing.T) {
	d := dir(t.TempDir())
	require.NoError(t, d.writePKI())
	authority, err := os.ReadFile(d.pki("ca.crt"))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(authority))

	leaf := func(name string) *x509.Certificate {
		pair, err := tls.LoadX509KeyPair(d.pki(name+".crt"), d.pki(name+".key"))
		require.NoError(t, err)
		return pair.Leaf
	}
	for _, host := range []string{"127.0.0.1", "localhost", "kubernetes.default.svc", "10.0.0.1"} {
		_, err = leaf("server").Verify(x509.VerifyOptions{Roots: roots, DNSName: host})
		require.NoError(t, err, host)
	}
	admin := leaf("admin")
	_, err = admin.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	require.NoError(t, err)
	require.Equal(t, []string{"system:masters"}, admin.Subject.Organization)
}

func TestExportLineSurvivesTheShell(t *testing.T) {
	require.Equal(t, "export KUBECONFIG=/a/.cluster/kubeconfig", exportLine("KUBECONFIG", "/a/.cluster/kubeconfig"))
	require.Equal(t, `export KUBECONFIG='/a b/it'\''s'`, exportLine("KUBECONFIG", "/a b/it's"))
}

func TestLastLinesAreIndented(t *testing.T) {
	require.Equal(t, "  c\n  d", lastLines("a\nb\nc\nd\n", 2))
	require.Equal(t, "  a", lastLines("a", 2))
	require.Len(t, strings.Split(lastLines(strings.Repeat("x\n", 40), 15), "\n"), 15)
}
