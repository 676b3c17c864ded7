package app

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"
)

// certificate is the listener's. It is read again when its file changes, so that a renewal needs no restart.
type certificate struct {
	cert, key string // PEM files
	logger    *slog.Logger

	mu      sync.Mutex // guards what follows
	pair    *tls.Certificate
	changed time.Time // of the certificate's file, as it was read
	looked  time.Time
	failing string // the last error of reading the files that was logged; empty after a success
}

// lookAgain is the least time between two looks at the file's time.
const lookAgain = 10 * time.Second

// openCertificate reads the files, nil where none are named.
func openCertificate(t listenTLS, logger *slog.Logger) (*certificate, error) {
	if t.Cert == "" {
		return nil, nil //nolint:nilnil // no certificate is configured
	}
	c := &certificate{cert: t.Cert, key: t.Key, logger: logger}
	_, err := c.current()
	return c, err
}

// current is the certificate that the files hold. If they cannot be read any more, the one that was read last stays in use.
func (c *certificate) current() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pair != nil && time.Since(c.looked) < lookAgain {
		return c.pair, nil
	}
	c.looked = time.Now()
	info, err := os.Stat(c.cert)
	if err == nil && c.pair != nil && info.ModTime().Equal(c.changed) {
		return c.pair, nil
	}
	pair, loadErr := tls.LoadX509KeyPair(c.cert, c.key)
	err = errors.Join(err, loadErr)
	if err != nil && c.pair == nil {
		return nil, fmt.Errorf("must be a readable certificate and its key in PEM: %w", err)
	}
	c.tell(&pair, err)
	if err == nil {
		c.pair, c.changed = &pair, info.ModTime()
	}
	return c.pair, nil
}

// tell logs a renewal, and once why one does not work.
func (c *certificate) tell(renewed *tls.Certificate, err error) {
	switch {
	case err != nil && err.Error() != c.failing:
		c.failing = err.Error()
		c.logger.Warn("could not renew the listener's certificate; the one before stays in use", "error", err)
	case err == nil && c.pair != nil:
		c.failing = ""
		c.logger.Info("the listener's certificate was renewed", "valid_until", renewed.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
}

func (c *certificate) serverConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current() }}
}

// transport trusts this certificate and no other. It reaches the process's own address, which the certificate need not name.
func (c *certificate) transport() http.RoundTripper {
	return &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{
		MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, //nolint:gosec // VerifyConnection compares the certificate itself
		VerifyConnection: func(state tls.ConnectionState) error {
			own, err := c.current()
			if err == nil && (len(state.PeerCertificates) == 0 || !sameCertificate(state.PeerCertificates[0], own)) {
				err = errors.New("this address is not this process's")
			}
			return err
		},
	}}
}

func sameCertificate(shown *x509.Certificate, own *tls.Certificate) bool {
	return bytes.Equal(shown.Raw, own.Certificate[0])
}
