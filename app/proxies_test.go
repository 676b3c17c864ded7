package app

import (
	"strings"
	"testing"
)

// TestTrustedProxies: networks, and nothing that would let everybody say who they are.
func TestTrustedProxies(t *testing.T) {
	for network, ok := range map[string]bool{
		"10.0.3.0/24": true, "2001:db8::7/128": true, "10.0.3.7/24": false, "10.0.3.7": false, "0.0.0.0/0": false, "::/0": false, "proxy": false, "": false,
	} {
		config, err := loadText(t, "server: {trusted_proxies: [\""+network+"\"]}\n")
		if err != nil {
			t.Fatal(err)
		}
		d, err := loadDeployment(config)
		if ok && (err != nil || len(d.Server.proxies) != 1) {
			t.Errorf("%s: %v", network, err)
		}
		if !ok && (err == nil || !strings.Contains(err.Error(), "server.trusted_proxies[0]: must be a network")) {
			t.Errorf("%q: %v", network, err)
		}
	}
}
