package serve

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"os"

	"github.com/kwatchman/kwatchman/internal/tlsfiles"
)

// listenerOf puts TLS around a listener if the environment has a certificate.
func listenerOf() (func(net.Listener) net.Listener, error) {
	names := tlsfiles.Files{Cert: "TLS_CERT_FILE", Key: "TLS_KEY_FILE", CA: "TLS_CLIENT_CA_FILE"}
	files := tlsfiles.Files{Cert: os.Getenv(names.Cert), Key: os.Getenv(names.Key), CA: os.Getenv(names.CA)}
	switch {
	case files == tlsfiles.Files{}:
		return func(l net.Listener) net.Listener { return l }, nil
	case files.Cert == "" && files.Key == "":
		return nil, errors.New("TLS_CLIENT_CA_FILE: want TLS_CERT_FILE and TLS_KEY_FILE, too")
	}
	loader, err := tlsfiles.Open(files, names, func(err error) { slog.Error("certificate not renewed", "error", err) })
	if err != nil {
		return nil, err
	}
	return func(l net.Listener) net.Listener { return tls.NewListener(l, loader.Server()) }, nil
}
