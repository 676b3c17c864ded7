package app

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestConnectionsAreBounded: a connection beyond the limit waits until another one goes.
func TestConnectionsAreBounded(t *testing.T) {
	l, err := listen(t.Context(), "127.0.0.1:0", 2)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- conn
		}
	}()
	dial := func() {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	dial()
	dial()
	first, second := <-accepted, <-accepted
	if !l.crowded() {
		t.Error("two of two are not many")
	}
	dial()
	select {
	case <-accepted:
		t.Error("a third connection was taken")
	default:
	}
	_ = first.Close()
	_ = first.Close() // gives its place back once
	third := <-accepted
	_ = second.Close()
	_ = third.Close()
	if l.open() != 0 {
		t.Errorf("%d are open", l.open())
	}
}

// TestCertificate: the listener speaks TLS, the process reaches its own address, and a renewed certificate is read.
func TestCertificate(t *testing.T) {
	dir := t.TempDir()
	files := listenTLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	writeCertificate(t, files, 1)
	var told bytes.Buffer
	c, err := openCertificate(files, slog.New(slog.NewTextHandler(&told, nil)))
	if err != nil {
		t.Fatal(err)
	}
	l, err := listen(t.Context(), "127.0.0.1:0", 10)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler(), TLSConfig: c.serverConfig(), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.ServeTLS(l, "", "") }()
	defer server.Close()
	get := func() *http.Response {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://"+l.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := (&http.Client{Transport: c.transport()}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer
	}
	if answer := get(); answer.StatusCode != http.StatusNotFound || answer.TLS.PeerCertificates[0].SerialNumber.Int64() != 1 {
		t.Errorf("%+v", answer)
	}
	writeCertificate(t, files, 2)
	c.mu.Lock()
	c.looked, c.changed = time.Time{}, time.Time{}
	c.mu.Unlock()
	if answer := get(); answer.TLS.PeerCertificates[0].SerialNumber.Int64() != 2 {
		t.Error("the renewed certificate is not used")
	}
	if err := os.WriteFile(files.Cert, []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it is told once
		c.mu.Lock()
		c.looked, c.changed = time.Time{}, time.Time{}
		c.mu.Unlock()
		if answer := get(); answer.TLS.PeerCertificates[0].SerialNumber.Int64() != 2 {
			t.Error("a certificate that cannot be read takes the place of one that could")
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(told.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "was renewed") || !strings.Contains(lines[1], "level=WARN msg=\"could not renew") {
		t.Errorf("told %q", lines)
	}
}

func writeCertificate(t *testing.T, files listenTLS, serial int64) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"sluice.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{files.Cert: {Type: "CERTIFICATE", Bytes: der}, files.Key: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReset: only what Sluice made is removed, and it is said before.
func TestReset(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string // error
		told  string
	}{
		{"an empty one", nil, "", ""},
		{"one of ours", map[string]string{"format": "Sluice data directory, format 5\n", "keys": "", "root_key.fingerprint": "x"}, "", "reset: removing keys, root_key.fingerprint, format from "},
		{"one of an older format", map[string]string{"format": "3\n", "broker": ""}, "", "reset: removing broker, format from "},
		{"one without the marker", map[string]string{"state": ""}, "must have been made by sluice", ""},
		{"another's marker", map[string]string{"format": "A4", "state": ""}, "must have been made by sluice", ""},
		{"one with something else", map[string]string{"format": "5\n", "thesis.doc": ""}, "it holds thesis.doc", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range c.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var told bytes.Buffer
			d, err := openDataDir(dir, true, &told)
			if err == nil {
				defer d.Close()
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			if !strings.HasPrefix(told.String(), c.told) || c.told == "" && told.Len() > 0 {
				t.Errorf("told %q", told.String())
			}
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			left := len(c.files) // where it was refused, what was there and nothing else
			if c.want == "" {
				left = len([]string{"lock", formatFile})
			}
			if len(entries) != left {
				t.Errorf("it holds %v", entries)
			}
		})
	}
}

// TestAnotherRootKey does not start on a directory that was made with one.
func TestAnotherRootKey(t *testing.T) {
	d, err := openDataDir(t.TempDir(), false, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, step := range []struct {
		fingerprint string
		ok          bool
	}{{"aa", true}, {"aa", true}, {"bb", false}, {"aa", true}} {
		if err := d.checkKey(step.fingerprint); (err == nil) != step.ok {
			t.Errorf("%s: %v", step.fingerprint, err)
		}
	}
}
