// Package unreached says why an HTTP endpoint gave no answer, without what of its
// URL may be a secret.
package unreached

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
)

// Cause explains an error of the network. Only errors that hold addresses and
// names of hosts at most are quoted.
func Cause(err error) string {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e.Error()
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return "the server does not speak TLS"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "the connection was closed"
	}
	return "no valid HTTP answer"
}
