package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"sluice/internal/config"
	"sluice/internal/httpx"
)

// imports posts, for everyone in the files, that they had accepted the policy and what they had allowed, before their first row is sent.
type imports struct {
	client *client
	tail   []byte // `,"policy_version":…,"grants":[…]}`

	mu      sync.Mutex // guards what follows; held while posting
	seen    map[string]struct{}
	pending []byte
	waiting int
	count   int
	ignored int // of them, those who kept a choice of their own
	refused int // people with an id that nobody can have, or a jurisdiction that the register does not know
}

// policy is what GET /v1/policy says of the policy in force.
type policy struct {
	Version  string `json:"version"`
	Purposes []struct {
		Name string `json:"name"`
		Tier string `json:"tier"`
	} `json:"purposes"`
}

// check refuses a grant of what people cannot allow: an unknown purpose, or one of a tier that no choice touches.
func (p *policy) check(grants []string) error {
	var names []string
	for _, purpose := range p.Purposes {
		if purpose.Tier == "switchable" || purpose.Tier == "additional" {
			names = append(names, purpose.Name)
		}
	}
	for _, grant := range grants {
		if !slices.Contains(names, grant) {
			return &config.Error{File: "--grant", Path: grant, Message: "must be a purpose that people can allow: one of " + strings.Join(names, ", ")}
		}
	}
	return nil
}

// newImports asks for the policy in force, and holds the grants against it.
func newImports(ctx context.Context, c *client, grants []string) (*imports, error) {
	var inForce policy
	if err := c.get(ctx, "/v1/policy", &inForce); err != nil {
		return nil, fmt.Errorf("asking for the policy in force: %w", err)
	}
	if err := inForce.check(grants); err != nil {
		return nil, err
	}
	if grants == nil {
		grants = []string{}
	}
	tail, err := json.Marshal(struct {
		Version string   `json:"policy_version"`
		Grants  []string `json:"grants"`
	}{inForce.Version, grants})
	if err != nil {
		return nil, err
	}
	tail[0] = ','
	return &imports{client: c, tail: tail, seen: make(map[string]struct{})}, nil
}

// note remembers the person of a row, once. A row without a person, or with a name that is not text, is the server's to reject.
func (i *imports) note(a *About) {
	subject := "u:" + a.UserID
	if a.UserID == "" {
		subject = "a:" + a.AnonymousID
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, ok := i.seen[subject]; ok || len(subject) == 2 || a.Jurisdiction == "" || !utf8.ValidString(subject+a.Jurisdiction) {
		return
	}
	i.seen[subject] = struct{}{}
	i.pending = append(i.pending, `{"subject":`...)
	i.pending, _ = appendText(i.pending, subject)
	i.pending = append(i.pending, `,"jurisdiction":`...)
	i.pending, _ = appendText(i.pending, a.Jurisdiction)
	i.pending = append(append(i.pending, i.tail...), '\n')
	i.waiting++
}

// flush posts those who wait. A batch never waits for more people than a request may hold (10,000): batches are smaller.
func (i *imports) flush(ctx context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	for i.waiting > 0 {
		var answer struct {
			Accepted int `json:"accepted"`
			Ignored  int `json:"ignored"`
		}
		err := i.client.post(ctx, "/v1/imports", i.pending, &answer)
		if err != nil && i.drop(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("importing consent: %w", err)
		}
		if answer.Accepted != i.waiting {
			return fmt.Errorf("importing consent: %d of %d people accepted", answer.Accepted, i.waiting)
		}
		i.count, i.ignored = i.count+i.waiting, i.ignored+answer.Ignored
		i.pending, i.waiting = i.pending[:0], 0
	}
	return nil
}

// drop leaves out the people with an id, or a jurisdiction, that the server refuses, and tells whether there were any. The server will refuse their rows, too.
// If it refuses anything else, or the one jurisdiction of all, the run ends.
func (i *imports) drop(err error) bool {
	var final *StatusError
	var problem httpx.Problem
	if !errors.As(err, &final) || final.Status != http.StatusUnprocessableEntity || json.Unmarshal(final.body, &problem) != nil {
		return false
	}
	wrong := make(map[int]bool)
	foreign := 0
	for _, e := range problem.Errors {
		switch {
		case e.Index == nil || e.Pointer != "/subject" && e.Pointer != "/jurisdiction":
			return false
		case e.Pointer == "/jurisdiction":
			foreign++
		}
		wrong[*e.Index] = true
	}
	var kept []byte
	n := 0
	for line := range bytes.Lines(i.pending) {
		if !wrong[n] {
			kept = append(kept, line...)
		}
		n++
	}
	if len(wrong) == 0 || foreign == n {
		return false
	}
	i.pending, i.waiting, i.refused = kept, i.waiting-len(wrong), i.refused+len(wrong)
	return true
}
