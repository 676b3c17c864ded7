package main

import (
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"sluice/app"
)

// TestDemoCommands pastes what the demo prints into a shell, as a newcomer does, and opens its addresses.
func TestDemoCommands(t *testing.T) {
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s on this machine: the demo's commands need it", tool)
		}
	}
	d := startDemo(t, t.TempDir(), "--shoppers", "0")
	addresses, commands, _ := strings.Cut(demoCommands(&app.Started{URL: d.url, Policy: "2026-09", Broker: "127.0.0.1:9092"}), "\n\n")
	for _, address := range regexp.MustCompile(`http://\S+`).FindAllString(addresses, -1) {
		if status, _ := d.call(http.MethodGet, strings.TrimPrefix(address, d.url), nil); status != http.StatusOK {
			t.Errorf("%s answers %d", address, status)
		}
	}
	out, err := exec.CommandContext(t.Context(), "bash", "--norc", "--noprofile", "-c", commands).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	list := `personalized: %\n(` + regexp.QuoteMeta(d.url) + `/shop/items/\S+\n(    \S.*\n)+){5}`
	want := `^revision [\w-]{32}\n{"accepted":1,"duplicate":0,.*"warnings":\[\]}\n` + strings.Replace(list, "%", "(true|false)", 1) + `{"revision":"[\w-]{32}".*}\n` + strings.Replace(list, "%", "false", 1) + `$`
	if !regexp.MustCompile(want).Match(out) {
		t.Errorf("the commands print\n%s", out)
	}
}

// TestFirstWords: what people try first prints something and exits 0.
func TestFirstWords(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "Commands:"},
		{[]string{"help"}, "Commands:"},
		{[]string{"help", "demo"}, "--shoppers"},
		{[]string{"--version"}, "sluice "},
		{[]string{"version"}, "sluice "},
	} {
		if stdout, stderr, code := sluice(t, c.args...); code != exitDone || !strings.Contains(stdout, c.want) {
			t.Errorf("%v: exit %d, %q, %q", c.args, code, stdout, stderr)
		}
	}
}
