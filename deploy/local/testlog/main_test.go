package main

import (
	"strings"
	"testing"
)

const log = `{"Action":"run","Package":"p","Test":"TestGood"}
{"Action":"output","Package":"p","Test":"TestGood","Output":"good\n"}
{"Action":"pass","Package":"p","Test":"TestGood"}
{"Action":"output","Package":"p","Test":"TestBad","Output":"bad\n"}
{"Action":"fail","Package":"p","Test":"TestBad"}
{"Action":"output","Package":"p","Output":"FAIL\n"}
{"Action":"fail","Package":"p"}
{"ImportPath":"q","Action":"build-output","Output":"does not compile\n"}
{"ImportPath":"q","Action":"build-fail"}
`

func TestRun(t *testing.T) {
	for want, count := range map[string]bool{"bad\nFAIL\ndoes not compile\n": false, "bad\nFAIL\ndoes not compile\n1\n": true} {
		var out strings.Builder
		if err := run(strings.NewReader(log), &out, count); err != nil || out.String() != want {
			t.Errorf("%q, %v; expected %q", out.String(), err, want)
		}
	}
	if err := run(strings.NewReader("PASS\n"), new(strings.Builder), false); err == nil {
		t.Error("plain text was taken for JSON")
	}
}
