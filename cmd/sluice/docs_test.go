package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"sluice/app"
	"sluice/internal/topics"
)

// docsBase is where the guides say that the demo listens.
const docsBase = "http://127.0.0.1:8080"

// TestDocs runs the guides' examples against a demo, and checks that the guides name everything that there is to know about it.
func TestDocs(t *testing.T) {
	guides := readGuides(t)
	d := startDemo(t, t.TempDir(), "--shoppers", "20")
	for _, name := range slices.Sorted(maps.Keys(guides)) {
		if name == "ARCHITECTURE.md" || name == "glossary.md" {
			continue // nothing to run
		}
		t.Run(name, func(t *testing.T) { runExamples(t, d, guides[name]) })
	}
	t.Run("metrics", func(t *testing.T) { d.checkMetrics(t, guides["operator.md"]) })
	t.Run("description", func(t *testing.T) { d.checkDescription(t) })
	t.Run("paths", func(t *testing.T) {
		d.checkPaths(t, guides["storefront.md"]+guides["settings.md"]+guides["operator.md"])
	})
}

// TestDocsNameTheConfiguration needs no demo: topics, sections, keys and links.
func TestDocsNameTheConfiguration(t *testing.T) {
	guides := readGuides(t)
	for _, topic := range topics.All(16, 1) {
		if name := "`sluice." + topic.Name + "`"; !strings.Contains(guides["operator.md"], name) {
			t.Errorf("operator.md does not name the topic %s", name)
		}
	}
	var all strings.Builder
	for _, text := range guides {
		all.WriteString(codeOf(text))
	}
	words := wordsOf(all.String())
	for _, b := range app.Builtins() {
		var sections yaml.MapSlice
		if err := yaml.Unmarshal(b.Data, &sections); err != nil {
			t.Fatal(err)
		}
		eachKey(sections, "", func(path, key string) {
			if slices.ContainsFunc(strings.Split(key, "."), func(part string) bool { return !words[part] }) && !strings.Contains(path, ".given.") {
				t.Errorf("%s: no guide names the key %s", b.Name, path)
			}
		})
	}
	checkDefaults(t, guides)
	checkCodes(t, words)
	checkMap(t, guides["ARCHITECTURE.md"])
	for name, text := range guides {
		checkLinks(t, name, text)
	}
}

// readGuides reads README.md and docs/*.md, by name.
func readGuides(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no guides: %v", err)
	}
	guides := make(map[string]string)
	for _, path := range append(paths, "../../README.md") {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		guides[filepath.Base(path)] = string(data)
	}
	return guides
}

// example is a command of a guide, and the lines that the guide shows under it.
type example struct {
	line    int
	command string
	output  string
}

// examplesOf are the commands of the blocks that are marked to be run: `$ ` begins a command, `> ` or a backslash before goes on with it.
func examplesOf(text string) (examples []example) {
	marked, inside := false, false
	for i, line := range strings.Split(text, "\n") {
		switch {
		case inside && line == "```":
			inside = false
		case !inside:
			inside = marked && line == "```console"
			marked = line == "<!-- run -->"
		case strings.HasPrefix(line, "$ # "): // a remark to the reader
		case strings.HasPrefix(line, "$ "):
			examples = append(examples, example{line: i + 1, command: line[2:]})
		default:
			examples[len(examples)-1].add(line)
		}
	}
	return examples
}

// add takes a line that does not begin a command.
func (e *example) add(line string) {
	more, isMore := strings.CutPrefix(line, "> ")
	open := strings.HasSuffix(e.command, `\`) || strings.Count(e.command, "'")%2 == 1
	switch {
	case isMore:
		e.command += "\n" + more
	case open && e.output == "":
		e.command += "\n" + line
	default:
		e.output += line + "\n"
	}
}

// runExamples runs a guide's examples in one shell. What only reads is asked again until the answer is as shown: the stream needs a moment.
func runExamples(t *testing.T, d *demo, text string) {
	examples := examplesOf(text)
	if len(examples) == 0 {
		t.Error("no examples are marked to be run")
		return
	}
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s on this machine: the examples of the guides need it", tool)
		}
	}
	sh := startShell(t, d)
	for _, e := range examples {
		want := pattern(e.output)
		deadline := time.Now().Add(30 * time.Second)
		for {
			got := sh.run(strings.ReplaceAll(e.command, docsBase, d.url))
			if want.MatchString(strings.TrimSpace(strings.ReplaceAll(got, d.url, docsBase))) {
				break
			}
			if !e.onlyReads() || time.Now().After(deadline) {
				t.Errorf("line %d: $ %s\ngot\n%s\nwant\n%s", e.line, e.command, got, e.output)
				break
			}
			time.Sleep(50 * time.Millisecond) // asked from outside the process: there is nothing to wait on
		}
	}
}

// onlyReads tells whether a command may be run again.
func (e *example) onlyReads() bool {
	if strings.HasPrefix(e.command, "sluice ") {
		return !strings.Contains(e.command, "replay") && !strings.Contains(e.command, "redrive")
	}
	return strings.HasPrefix(e.command, "curl ") && !strings.Contains(e.command, " -X ") &&
		(!strings.Contains(e.command, " -d ") || strings.Contains(e.command, "/v1/recommendations"))
}

// pattern is what an output must match: … stands for anything, and white space for any or none, since guides break long lines.
func pattern(output string) *regexp.Regexp {
	words := strings.Fields(output)
	for i, word := range words {
		words[i] = strings.ReplaceAll(regexp.QuoteMeta(word), "…", ".*?")
	}
	return regexp.MustCompile(`(?s)^` + strings.Join(words, `\s*`) + `$`)
}

// shell is a bash in a directory of its own, with the test binary as `sluice` on its path.
type shell struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

// endOfOutput ends the output of a command; no command prints it.
const endOfOutput = '\x1e'

func startShell(t *testing.T, d *demo) *shell {
	t.Helper()
	bin, dir := t.TempDir(), t.TempDir()
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	// The guides' commands ask the demo's usual address; here it has another.
	wrapper := fmt.Sprintf("#!/bin/sh\ncase \"$1\" in replay|dead-letters) set -- \"$@\" --to %s ;; esac\n%s=1 exec %q \"$@\"\n", d.url, runAsSluice, self)
	if err := os.WriteFile(filepath.Join(bin, "sluice"), []byte(wrapper), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "--norc", "--noprofile")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "LC_ALL=C.UTF-8")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait() // the last command's own code
		_ = w.Close()
	})
	return &shell{t: t, in: in, out: bufio.NewReader(r)}
}

// run runs a command and returns what it printed.
func (s *shell) run(command string) string {
	s.t.Helper()
	if _, err := fmt.Fprintf(s.in, "{ %s\n} 2>&1 </dev/null; printf '%c'\n", command, endOfOutput); err != nil {
		s.t.Fatal(err)
	}
	out, err := s.out.ReadString(endOfOutput)
	if err != nil {
		s.t.Fatalf("%v after %s", err, out)
	}
	return strings.TrimSuffix(out, string(endOfOutput))
}

// checkMetrics compares what the demo measures with the operator's table.
func (d *demo) checkMetrics(t *testing.T, guide string) {
	status, body := d.call(http.MethodGet, "/metrics", nil)
	if status != http.StatusOK {
		t.Fatal(status)
	}
	for _, series := range alertSeries(t) { // the first occurrence of a series is no increase of it
		name, label := series[0], series[1]
		if !regexp.MustCompile(`(?m)^` + name + `(\{.*` + regexp.QuoteMeta(label) + `.*\})? (\d|\+Inf)`).Match(body) {
			t.Errorf("no series of %s{%s} is there before its first occurrence: its alert would miss that", name, label)
		}
	}
	faults, err := promlint.New(bytes.NewReader(body)).Lint()
	if err != nil {
		t.Error(err)
	}
	for _, fault := range faults {
		if strings.HasPrefix(fault.Metric, "sluice_") {
			t.Errorf("%s: %s", fault.Metric, fault.Text)
		}
	}
	lines := bufio.NewScanner(bytes.NewReader(body))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) != 4 || fields[1] != "TYPE" || !strings.HasPrefix(fields[2], "sluice_") {
			continue
		}
		if row := "| `" + fields[2] + "` | " + fields[3] + " |"; !strings.Contains(guide, row) {
			t.Errorf("operator.md has no row %s", row)
		}
	}
}

// checkPaths looks for every path of the API's description in the guides.
func (d *demo) checkPaths(t *testing.T, guides string) {
	var description struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	d.ask(http.MethodGet, "/openapi.json", nil, &description)
	if len(description.Paths) < 10 {
		t.Fatalf("%d paths", len(description.Paths))
	}
	for path := range description.Paths {
		if !regexp.MustCompile(regexp.QuoteMeta(path) + `[^a-zA-Z0-9_/{]`).MatchString(guides) {
			t.Errorf("no guide names %s", path)
		}
	}
}

// operation is what the API's description says of one.
type operation struct {
	Summary     string
	Tags        []string
	Security    []map[string][]string
	RequestBody *struct{ Content map[string]described }
	Responses   map[string]struct {
		Description string
		Content     map[string]described
	}
}

// described is a body's schema.
type described struct {
	Schema map[string]any
}

// checkDescription looks for what a storefront's engineer needs of every operation: what it is for, who may ask, what to send, what comes back.
func (d *demo) checkDescription(t *testing.T) {
	var description struct {
		Tags []struct {
			Name, Description string
		}
		Paths map[string]map[string]operation
	}
	d.ask(http.MethodGet, "/openapi.json", nil, &description)
	tags := make(map[string]bool)
	for _, tag := range description.Tags {
		tags[tag.Name] = tag.Description != ""
	}
	for path, operations := range description.Paths {
		for method, op := range operations {
			at := method + " " + path
			if op.Summary == "" || len(op.Tags) != 1 || !tags[op.Tags[0]] || len(op.Security) == 0 {
				t.Errorf("%s: summary %q, tags %v, security %v", at, op.Summary, op.Tags, op.Security)
			}
			takesBody := method == "post" && !strings.HasSuffix(path, "/redriven") || strings.HasSuffix(path, "/policy") && method == "put" || strings.HasSuffix(path, "/{purpose}")
			if takesBody != (op.RequestBody != nil) {
				t.Errorf("%s: body %v", at, op.RequestBody)
			}
			for status, answer := range op.Responses {
				if len(answer.Content) == 0 && status != "204" || answer.Description == "" {
					t.Errorf("%s: nothing is told about the answer %s", at, status)
				}
				for kind, body := range answer.Content {
					if len(body.Schema) == 0 || strings.Contains(kind, "problem") == (status[0] == '2') {
						t.Errorf("%s: %s is %s with the schema %v", at, status, kind, body.Schema)
					}
				}
			}
		}
	}
}

// checkMap follows the architecture's file map: every package is in it, and every Go file that it names is there.
func checkMap(t *testing.T, text string) {
	files, rows := make(map[string]bool), make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z/]+)` \\| [^|]* \\| (.*) \\|$").FindAllStringSubmatch(text, -1) {
		rows[row[1]] = row[2]
	}
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.Contains(path, "/testdata/") {
			return err
		}
		name := filepath.Base(path)
		files[name] = true
		if strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".pb.go") || name == "metrics.go" {
			return nil
		}
		pkg, _ := filepath.Rel("../..", filepath.Dir(path))
		if !strings.Contains(rows[pkg], "`"+name+"`") {
			t.Errorf("ARCHITECTURE.md must name %s in the row of %s", name, pkg)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for _, match := range regexp.MustCompile(`[^a-z_.]([a-z_]+\.go)\b`).FindAllStringSubmatch(text, -1) {
		if !files[match[1]] {
			t.Errorf("ARCHITECTURE.md names %s, which is not there", match[1])
		}
	}
}

// codeOf is what stands in a guide as code: fenced blocks and spans.
func codeOf(text string) string {
	var code strings.Builder
	for i, part := range strings.Split(text, "\n```") {
		if i%2 == 1 {
			code.WriteString(part + "\n")
			continue
		}
		for _, span := range regexp.MustCompile("`[^`\n]+`").FindAllString(part, -1) {
			code.WriteString(span + "\n")
		}
	}
	return code.String()
}

// wordsOf is the set of the words of a text.
func wordsOf(text string) map[string]bool {
	words := make(map[string]bool)
	for _, word := range regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`).FindAllString(text, -1) {
		words[word] = true
	}
	return words
}

// eachKey yields every key of a document with its path, those in lists too.
func eachKey(node any, path string, yield func(path, key string)) {
	switch n := node.(type) {
	case yaml.MapSlice:
		for _, entry := range n {
			key := fmt.Sprint(entry.Key)
			yield(path+"."+key, key)
			eachKey(entry.Value, path+"."+key, yield)
		}
	case map[string]any:
		for key, value := range n {
			yield(path+"."+key, key)
			eachKey(value, path+"."+key, yield)
		}
	case []any:
		for i, value := range n {
			eachKey(value, fmt.Sprintf("%s[%d]", path, i), yield)
		}
	}
}

// checkDefaults compares the guides' tables of defaults (section, key, default, effect) with what is built in.
func checkDefaults(t *testing.T, guides map[string]string) {
	built := make(map[string]any)
	for _, b := range app.Builtins() {
		var sections map[string]any
		if err := yaml.Unmarshal(b.Data, &sections); err != nil {
			t.Fatal(err)
		}
		maps.Copy(built, sections)
	}
	checked := 0
	for name, text := range guides {
		section, inside := "", false
		for line := range strings.SplitSeq(text, "\n") {
			cells := strings.Split(strings.Trim(line, "|"), "|")
			switch {
			case strings.HasPrefix(line, "| section | key | default |"):
				inside = true
			case !strings.HasPrefix(line, "|"):
				inside = false
			case inside && len(cells) > 2:
				if told := plainCell(cells[0]); told != "" {
					section = told
				}
				for key := range strings.SplitSeq(plainCell(cells[1]), ", ") {
					if fault := compareDefault(built, section+"."+key, plainCell(cells[2])); fault != "" {
						t.Errorf("%s: %s.%s: %s", name, section, key, fault)
					}
					checked++
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("%d defaults found in the guides", checked)
	}
}

// plainCell is a table's cell without code marks.
func plainCell(cell string) string { return strings.TrimSpace(strings.ReplaceAll(cell, "`", "")) }

// compareDefault says how a default in a guide differs from the built-in value at a path. Nothing is told by an empty cell.
func compareDefault(built map[string]any, path, told string) string {
	var value any = built
	for key := range strings.SplitSeq(path, ".") {
		m, _ := value.(map[string]any)
		value = m[key] // nil where there is none
	}
	var is any
	switch word, _, _ := strings.Cut(told, " "); {
	case told == "" || strings.Contains(told, ": ") && !strings.HasPrefix(told, "{"):
		return ""
	case word == "absent":
		is = nil
	case word == "empty":
		is = ""
	default:
		if _, list := value.([]any); list && !strings.HasPrefix(told, "[") {
			told = "[" + strings.Join(strings.Fields(told), ", ") + "]"
		} else if _, text := value.(string); !text && !strings.ContainsAny(told, "[{") {
			told = strings.ReplaceAll(told, ",", "")
		}
		if err := yaml.Unmarshal([]byte(told), &is); err != nil {
			return err.Error()
		}
	}
	if fmt.Sprint(is) != fmt.Sprint(value) {
		return fmt.Sprintf("the guide says %v, built in is %v", is, value)
	}
	return ""
}

// checkCodes looks for the code of every problem that the program can answer with.
func checkCodes(t *testing.T, words map[string]bool) {
	problem := regexp.MustCompile(`NewProblem\([a-zA-Z.]+, "([a-z_]+)"`)
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, match := range problem.FindAllSubmatch(source, -1) {
			if !words[string(match[1])] {
				t.Errorf("%s: no guide names the code %s", path, match[1])
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// checkLinks follows a guide's links to files and headings of this repository. Images are the release's to make.
func checkLinks(t *testing.T, name, text string) {
	dir := "../../docs"
	if name == "README.md" {
		dir = "../.."
	}
	for _, match := range link.FindAllStringSubmatch(text, -1) {
		target, anchor, _ := strings.Cut(match[1], "#")
		if strings.Contains(target, "://") || strings.HasSuffix(target, ".png") {
			continue
		}
		linked := text
		if target != "" {
			data, err := os.ReadFile(filepath.Join(dir, target))
			if err != nil {
				t.Errorf("%s links to %s: %v", name, match[1], err)
				continue
			}
			linked = string(data)
		}
		if anchor != "" && !slices.Contains(anchorsOf(linked), anchor) {
			t.Errorf("%s links to %s: no such heading", name, match[1])
		}
	}
}

// anchorsOf are the anchors of a text's headings, as forges make them.
func anchorsOf(text string) (anchors []string) {
	for _, match := range heading.FindAllStringSubmatch(text, -1) {
		plain := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(match[1]), "")
		anchors = append(anchors, strings.ReplaceAll(plain, " ", "-"))
	}
	return anchors
}
