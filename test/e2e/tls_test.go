package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// authority issues certificates for loopback.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &a.key.PublicKey, a.key)
	require.NoError(t, err)
	a.write("ca.crt", "CERTIFICATE", der)
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) write(name, kind string, der []byte) {
	require.NoError(a.t, os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

// issue writes name.crt and name.key, which hold for as long as that.
func (a *authority) issue(name string, serial int64, holds time.Duration) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(holds), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	require.NoError(a.t, err)
	private, err := x509.MarshalECPrivateKey(key)
	require.NoError(a.t, err)
	a.write(name+".key", "EC PRIVATE KEY", private)
	a.write(name+".crt", "CERTIFICATE", der)
}

// serving are a function's variables for its certificate.
func (a *authority) serving(name string) []string {
	return []string{"TLS_CERT_FILE=" + a.path(name+".crt"), "TLS_KEY_FILE=" + a.path(name+".key"), "TLS_CLIENT_CA_FILE=" + a.path("ca.crt")}
}

func TestHopsWithCertificatesOnBothSides(t *testing.T) {
	c := newCluster(t)
	a := newAuthority(t)
	a.issue("function", 100, time.Hour)
	a.issue("client", 200, time.Hour)
	a.issue("expired", 300, -time.Minute)
	url, log := startFunction(t, "log", append(a.serving("function"), "LOG_FORMAT=text", "METRICS_PORT=0")...)
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} { // of a probe, which has no certificate
		resp, err := http.Get(log.address("serving metrics") + path)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 200, resp.StatusCode, path)
	}
	url = strings.Replace(url, "http://", "https://", 1)
	ca := "KW_TLS_CA_FILE=" + a.path("ca.crt")
	client := []string{ca, "KW_TLS_CERT_FILE=" + a.path("client.crt"), "KW_TLS_KEY_FILE=" + a.path("client.key")}
	on := []string{"KW_HANDLERS=" + url, "KW_RESOURCES=configmaps", "KW_RETRY_WAIT_MIN=10ms"}

	w := c.startWatcher(append(on, client...)...)
	c.create(configMaps, configMap("sealed", nil))
	eventually(t, func() bool { return strings.Contains(log.stdout.String(), "sealed") }, "it arrives")

	// A renewed certificate is shown to who connects from then on, without a restart.
	a.issue("function", 101, time.Hour)
	pool := x509.NewCertPool()
	text, err := os.ReadFile(a.path("ca.crt"))
	require.NoError(t, err)
	require.True(t, pool.AppendCertsFromPEM(text))
	pair, err := tls.LoadX509KeyPair(a.path("client.crt"), a.path("client.key"))
	require.NoError(t, err)
	eventually(t, func() bool {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64() == 101
	}, "the renewed certificate is shown")
	c.create(configMaps, configMap("renewed", nil))
	eventually(t, func() bool { return strings.Contains(log.stdout.String(), "renewed") }, "it arrives")
	require.Equal(t, 0, w.stop())

	// Who has no certificate, or one that is over, gets nothing through; nothing is lost for it.
	for what, env := range map[string][]string{
		"none":    {ca},
		"expired": {ca, "KW_TLS_CERT_FILE=" + a.path("expired.crt"), "KW_TLS_KEY_FILE=" + a.path("expired.key")},
	} {
		dir := t.TempDir()
		w := c.startWatcher(append(append(on, "KW_STATE_DIR="+dir), env...)...)
		c.create(configMaps, configMap("refused-"+what, nil))
		w.await("step fails, trying again")
		require.Contains(t, w.stderr.find("step fails, trying again")["error"], "certificate", what)
		require.Equal(t, 0, w.stop())
		require.NotContains(t, log.stdout.String(), "refused-"+what)
		w = c.startWatcher(append(append(on, "KW_STATE_DIR="+dir), client...)...)
		eventually(t, func() bool { return strings.Contains(log.stdout.String(), "refused-"+what) }, "it arrives later")
		require.Equal(t, 0, w.stop())
	}

	// A function whose certificate is over is not trusted, nor one of a CA that nobody named.
	expired, _ := startFunction(t, "log", a.serving("expired")...)
	for _, target := range []struct{ url, ca, says string }{
		{strings.Replace(expired, "http://", "https://", 1), ca, "certificate has expired"},
		{url, "KW_TLS_CA_FILE=", "unknown authority"},
	} {
		w := c.startWatcher("KW_HANDLERS="+target.url, "KW_RESOURCES=configmaps", target.ca)
		c.create(configMaps, configMap("distrust-"+strings.Fields(target.says)[0], nil))
		w.await("step fails, trying again")
		require.Contains(t, w.stderr.find("step fails, trying again")["error"], target.says)
		w.stop()
	}
	_, err = http.Get(strings.Replace(url, "https://", "http://", 1))
	require.NoError(t, err, "plain HTTP is answered, with 400")
}

func TestCertificatesThatCannotBeUsedStopTheStart(t *testing.T) {
	a := newAuthority(t)
	a.issue("function", 1, time.Hour)
	for name, c := range map[string]struct {
		program string
		env     []string
		want    string
	}{
		"no key":        {"diff", []string{"TLS_CERT_FILE=" + a.path("function.crt")}, "diff: TLS_CERT_FILE and TLS_KEY_FILE: want both or none\n"},
		"a CA alone":    {"diff", []string{"TLS_CLIENT_CA_FILE=" + a.path("ca.crt")}, "diff: TLS_CLIENT_CA_FILE: want TLS_CERT_FILE and TLS_KEY_FILE, too\n"},
		"no file":       {"watcher", []string{"KW_HANDLERS=https://localhost:1", "KW_TLS_CA_FILE=" + a.path("none")}, "watcher: KW_TLS_CA_FILE: cannot be read: no such file or directory\n"},
		"no PEM inside": {"watcher", []string{"KW_HANDLERS=https://localhost:1", "KW_TLS_CA_FILE=" + a.path("function.key")}, "watcher: KW_TLS_CA_FILE: the file holds no PEM certificate\n"},
	} {
		code, _, stderr := runToEnd(t, c.program, nil, append(c.env, "PORT=0"))
		require.Equal(t, 1, code, name)
		require.Equal(t, c.want, stderr, name)
	}
}
