package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/replay"

	"sluice/internal/broker"
	"sluice/internal/broker/brokertest"
	"sluice/internal/stream"
	"sluice/internal/topics"
	"sluice/privacyfilter/purposepb"
)

// sharedData is the folder of data sets beside the checkout. Their licences do not let them into the project.
const sharedData = "../../../shared/data"

// shared is the path of a data set; the test is skipped, and says so, where it is absent.
func shared(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(sharedData, name)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is not here", path)
	}
	return path
}

// retailEvents is the number of rows of retail_events.csv.zst.
const retailEvents = 97_381

// account is what `sluice replay --json` says.
type account struct {
	Read, Accepted, Duplicate, Denied, Rejected int64
	Seconds                                     float64
}

// replayRetail replays the retail events and returns the account, which must add up.
func (d *demo) replayRetail(t *testing.T, args ...string) account {
	t.Helper()
	a, err := replayRetail(t, d.url, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events in %.1f s: %.0f a second", a.Read, a.Seconds, float64(a.Read)/a.Seconds)
	return a
}

func replayRetail(t *testing.T, url string, args ...string) (a account, err error) {
	args = append([]string{"replay", "--events", shared(t, "retail_events.csv.zst"), "--map", "testdata/retail.yaml", "--to", url, "--json"}, args...)
	stdout, stderr, code := sluice(t, args...)
	if code != 0 {
		return a, fmt.Errorf("replay: exit code %d: %s", code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &a); err != nil {
		return a, err
	}
	if a.Read != retailEvents || a.Accepted+a.Duplicate+a.Denied+a.Rejected != a.Read {
		return a, fmt.Errorf("the account does not add up: %+v", a)
	}
	return a, nil
}

func TestReplayTwiceChangesNothing(t *testing.T) {
	d := startEmpty(t, t.TempDir())
	if a := d.replayRetail(t, "--grant", "personalize"); a.Denied != 0 || a.Rejected != 0 {
		t.Errorf("first run: %+v", a)
	}
	once := d.stores()
	if a := d.replayRetail(t, "--grant", "personalize"); a.Duplicate != a.Read {
		t.Errorf("second run: %+v", a)
	}
	if twice := d.stores(); !maps.Equal(once, twice) {
		t.Errorf("the digest changed from\n%v to\n%v", once, twice)
	}
	if brokertest.Kafka() != nil {
		return // a node's directory alone does not hold the state
	}
	// The digest of the stopped server's directory is the same.
	d.stop()
	stdout, stderr, code := sluice(t, "state", "digest", "--data", d.dir, "--json")
	var digest struct {
		Stores []struct{ Name, Digest string }
	}
	if code != 0 || json.Unmarshal([]byte(stdout), &digest) != nil {
		t.Fatalf("digest of the directory: exit code %d: %s", code, stderr)
	}
	for _, s := range digest.Stores {
		if !strings.HasSuffix(once[s.Name], s.Digest) {
			t.Errorf("store %s: %s on disk, %s when it ran", s.Name, s.Digest, once[s.Name])
		}
	}
}

func TestReplayWithoutGrant(t *testing.T) {
	t.Run("policy accepted, opt-in jurisdiction", func(t *testing.T) {
		d := startEmpty(t, t.TempDir())
		if a := d.replayRetail(t, "--accept-policy", "--set", "jurisdiction=EU"); a.Denied != 0 || a.Accepted+a.Duplicate != a.Read {
			t.Errorf("account: %+v", a)
		}
		stores := d.stores()
		if stores["profiles"] != "" || stores["footprints"] == "" || stores["contributions"] == "" {
			t.Errorf("stores: %v", stores)
		}
	})
	t.Run("nothing accepted", func(t *testing.T) {
		d := startEmpty(t, t.TempDir())
		if a := d.replayRetail(t); a.Denied != a.Read {
			t.Errorf("account: %+v", a)
		}
		if stores := d.stores(); len(stores) > 0 {
			t.Errorf("stores: %v", stores)
		}
	})
}

// TestReplaySurvivesKills kills the server five times at random moments of a replay. The state must be that of an uninterrupted run with the same keys,
// and every event must stand exactly once on every purpose's topic.
func TestReplaySurvivesKills(t *testing.T) {
	shared(t, "retail_events.csv.zst")
	calm := startEmpty(t, t.TempDir())
	dir := t.TempDir()
	copyKeys(t, calm.dir, dir)
	calm.replayRetail(t, "--grant", "personalize")
	want := calm.stores()
	calm.stop()

	d := startEmpty(t, dir)
	listen := strings.TrimPrefix(d.url, "http://")
	done := make(chan error, 1)
	var a account
	go func(url string) {
		var err error
		a, err = replayRetail(t, url, "--grant", "personalize")
		done <- err
	}(d.url)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // moments of a test
	kills := 0
	for kills < 5 {
		select {
		case err := <-done:
			t.Fatalf("the replay ended after %d kills: %+v, %v", kills, a, err)
		case <-time.After(time.Duration(100+random.IntN(400)) * time.Millisecond):
		}
		d.kill()
		kills++
		d = startEmptyAt(t, listen, dir)
	}
	if err := <-done; err != nil || a.Denied != 0 || a.Rejected != 0 {
		t.Errorf("account: %+v, %v", a, err)
	}
	if got := d.stores(); !maps.Equal(want, got) {
		t.Errorf("after %d kills the stores are\n%v, uninterrupted\n%v", kills, got, want)
	}
	d.stop()
	for topic, n := range outputs(t, dir) {
		if n.events != retailEvents || n.distinct != retailEvents {
			t.Errorf("%s holds %d committed events, %d distinct ones; %d expected", topic, n.events, n.distinct, retailEvents)
		}
	}
}

// output counts the events that a purpose's topic holds.
type output struct{ events, distinct int }

// outputs reads the purpose topics of a stopped server.
func outputs(t *testing.T, dir string) map[string]output {
	t.Helper()
	cluster := clusterOf(t, dir)
	counts := make(map[string]output)
	for topic, eventOf := range map[string]func(value []byte) (event []byte, err error){
		topics.History: func(value []byte) ([]byte, error) {
			var r purposepb.HistoryRecord
			err := r.UnmarshalVT(value)
			return r.GetEvent().GetEvent(), err
		},
		topics.Personalize: func(value []byte) ([]byte, error) {
			var r purposepb.PersonalRecord
			err := r.UnmarshalVT(value)
			return r.GetEvent().GetEvent(), err
		},
		topics.Trending: func(value []byte) ([]byte, error) {
			var r purposepb.TrendingRecord
			err := r.UnmarshalVT(value)
			return r.GetEvent().GetEvent(), err
		},
	} {
		seen := make(map[string]bool)
		n := 0
		err := stream.ReadAll(t.Context(), cluster, topic, func(recs []stream.Record) {
			for i := range recs {
				event, err := eventOf(recs[i].Value)
				if err != nil {
					t.Error(err)
				}
				if len(event) > 0 { // not a purge
					n++
					seen[string(recs[i].Key)+string(event)] = true
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		counts[topic] = output{n, len(seen)}
	}
	return counts
}

// clusterOf is the broker of a stopped server's directory: the embedded one, started again, or the tests' Kafka cluster.
func clusterOf(t *testing.T, dir string) stream.Cluster {
	t.Helper()
	if addrs := brokertest.Kafka(); addrs != nil {
		return newDeployment(t, dir, addrs, 1).cluster
	}
	b, err := broker.Start(broker.Options{Dir: filepath.Join(dir, "broker")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b.Cluster("sluice.")
}

// copyKeys gives a new data directory the keys of another one: equal keys make equal pseudonyms, and so comparable digests.
func copyKeys(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(filepath.Join(to, "keys"), os.DirFS(filepath.Join(from, "keys"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(to, "keys", "root.key"), 0o600); err != nil { // a copy is everybody's to read, which a start refuses
		t.Fatal(err)
	}
}

// TestReplayOfUnreadableRows: on a server with its gate, rows that cannot be read are rejected and kept as dead letters, each with its file and line; the
// people of whom a grant is told are known before the gate is asked about their letters.
func TestReplayOfUnreadableRows(t *testing.T) {
	d := startEmpty(t, t.TempDir())
	columns := []string{"--columns", "time=time,user_id=user,items.item_id=item,type=type", "--set", "jurisdiction=CN", "--to", d.url}
	for _, c := range []struct{ name, rows, letter string }{
		{"dates", "11/%02d/2026,ab%d,it,view_item\n", "invalid_time /time: dates.csv line 2: column time: must be a number"},
		{"nobody", "2026-11-%02d 10:00:00,null,it%d,view_item\n", "placeholder /user_id: nobody.csv line 2: must name one person"},
		{"latin", "2026-11-%02d 10:00:00,caf\xe9%d,it,view_item\n", "invalid_utf8 /user_id: latin.csv line 2: column user: must be UTF-8, and looks like windows-1252"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			var text strings.Builder
			text.WriteString("time,user,item,type\n")
			for i := 1; i <= 8; i++ {
				fmt.Fprintf(&text, c.rows, i, i)
			}
			if err := os.WriteFile(c.name+".csv", []byte(text.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			stdout, stderr, code := sluice(t, append([]string{"replay", "--events", c.name + ".csv", "--grant", "personalize", "--max-rejected", "100"}, columns...)...)
			if code != exitFailed || !strings.HasPrefix(stdout, "read 8 = accepted 0 + duplicate 0 + denied 0 + rejected 8,") || !strings.Contains(stderr, "every row was rejected: 8 of 8") {
				t.Errorf("exit code %d: %s%s", code, stdout, stderr)
			}
			_, run, _ := strings.Cut(stdout, "(run ")
			stdout, _, _ = sluice(t, "dead-letters", "list", "--to", d.url, "--source", strings.TrimSuffix(strings.TrimSpace(run), ")"))
			if !strings.HasSuffix(stdout, "\n8 dead letters\n") || !strings.Contains(stdout, c.letter) {
				t.Errorf("letters: %s", stdout)
			}
		})
	}
}

// TestInterruptedReplay: a replay, or its check, that waits for standard input exits 130 at the first Ctrl-C.
func TestInterruptedReplay(t *testing.T) {
	for _, check := range []bool{false, true} {
		cmd := command(t.Context(), "replay", "--events", "-", "--columns", "time=time,user_id=user,type=type", "--set", "jurisdiction=CN", "--to", "http://127.0.0.1:1", fmt.Sprintf("--check=%v", check))
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// One row, of more than a pipe holds: the process is reading when it is written.
		if _, err := io.WriteString(in, `{"time":"2026-11-21","user":"u","type":"login","more":"`+strings.Repeat("x", 100_000)+`"}`+"\n"); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitInterrupted {
			t.Errorf("check %v: exit code %d: %v", check, cmd.ProcessState.ExitCode(), err)
		}
	}
}

// TestCheckedReplay: --check --json is one object, and a word that names nobody is rejected without a server.
func TestCheckedReplay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "e.csv")
	if err := os.WriteFile(file, []byte("time,user\n2026-11-21,u\n2026-11-21,undefined\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := sluice(t, "replay", "--check", "--json", "--events", file, "--columns", "time=time,user_id=user", "--set", "jurisdiction=CN,type=login")
	var preview replay.Preview
	if err := json.Unmarshal([]byte(stdout), &preview); err != nil || code != exitFailed || !strings.Contains(stderr, "1 of the 2 shown") {
		t.Fatalf("exit code %d, %v: %s%s", code, err, stdout, stderr)
	}
	if rows := preview.Inputs[0].Rows; len(rows) != 2 || rows[0].Fault != nil || rows[1].Position != 3 || rows[1].Fault == nil || rows[1].Fault.Code != "placeholder" {
		t.Errorf("%s", stdout)
	}
}

// TestUnsettledAccount: an account that does not add up yet is not printed as an equation.
func TestUnsettledAccount(t *testing.T) {
	account := replay.Account{Read: 10, Accepted: 3, Duplicate: 1, Denied: 1, Rejected: 1, Unsettled: 4, Seconds: 1.5, Run: "00c0ffee00c0ffee"}
	for _, c := range []struct {
		json bool
		want string
	}{
		{false, "read 10 so far: accepted 3, duplicate 1, denied 1, rejected 1, not yet settled 4, in 1.5 s (run 00c0ffee00c0ffee)\n"},
		{true, `{"read":10,"accepted":3,"duplicate":1,"denied":1,"rejected":1,"unsettled":4,"seconds":1.5}` + "\n"},
	} {
		var out strings.Builder
		if err := (&replayCmd{JSON: c.json}).print(&out, account); err != nil || out.String() != c.want {
			t.Errorf("%v: %s", err, out.String())
		}
	}
}
