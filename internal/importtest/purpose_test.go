package importtest

import (
	"os/exec"
	"strings"
	"testing"
)

// TestPurposeTypesKeepThePromise compiles two small features: one reads a field that its purpose does not hold, and the compiler refuses it.
// The loader keeps the same promise for YAML; its test is in features.
func TestPurposeTypesKeepThePromise(t *testing.T) {
	for _, c := range []struct {
		program, refused string
	}{
		{"personalmac", "ev.Mac undefined (type purposepb.PersonalEvent has no field or method Mac)"},
		{"riskmac", ""},
	} {
		out, err := exec.CommandContext(t.Context(), "go", "build", "-o", t.TempDir(), "./testdata/"+c.program).CombinedOutput()
		if refused := err != nil; refused != (c.refused != "") || !strings.Contains(string(out), c.refused) {
			t.Errorf("%s: %v\n%s", c.program, err, out)
		}
	}
}
