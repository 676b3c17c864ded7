package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"sluice/ingest/deadletter"
	"sluice/internal/httpx"
	"sluice/replay"
)

type deadLettersCmd struct {
	List    deadLettersListCmd    `cmd:"" help:"List dead letters, newest first."`
	Show    deadLettersShowCmd    `cmd:"" help:"Show one with its payload."`
	Redrive deadLettersRedriveCmd `cmd:"" help:"Map and post them again: those named, or all that are open."`
}

// letterQuery selects letters.
type letterQuery struct {
	Stage  string `help:"Only of this stage: replay, inbound, filter or warehouse." enum:",replay,inbound,filter,warehouse" default:""`
	Code   string `help:"Only with this code."`
	Source string `help:"Only of this source: a replay's run, or a topic and partition."`
}

func (q letterQuery) query() deadletter.Query {
	return deadletter.Query{Stage: q.Stage, Code: q.Code, Source: q.Source}
}

type deadLettersListCmd struct {
	letterQuery
	State string `help:"open, redriven, or empty for both." enum:",open,redriven" default:"open"`
	Limit int    `help:"At most this many; 0 for all." default:"50"`
	JSON  bool   `name:"json" help:"One JSON object on standard output."`
	endpoint
}

// Run lists letters.
func (c *deadLettersListCmd) Run(env *environment) error {
	client := &deadletter.Client{To: c.To, OperatorKey: c.keyOr("demo_operator")}
	q := c.query()
	q.State = c.State
	letters := []deadletter.Meta{}
	for m, err := range client.All(env, q) {
		if err != nil {
			return err
		}
		letters = append(letters, m)
		if len(letters) == c.Limit {
			break
		}
	}
	if c.JSON {
		return json.NewEncoder(env.stdout).Encode(map[string]any{"dead_letters": letters})
	}
	for _, m := range letters {
		printLetter(env.stdout, &m)
	}
	fmt.Fprintf(env.stdout, "%d dead letters\n", len(letters))
	return nil
}

func printLetter(w io.Writer, m *deadletter.Meta) {
	state := "open"
	if m.Redriven {
		state = "redriven"
	}
	fmt.Fprintf(w, "%s  %s  %-8s %-8s %s %d  %s: %s\n", m.ID, m.Time.Format(time.RFC3339), state, m.Stage, m.Source, m.Position, place(m.Code, m.Pointer), m.Detail)
}

// place is a fault's code, and where in the event it is if that is known.
func place(code, pointer string) string {
	if pointer == "" {
		return code
	}
	return code + " " + pointer
}

type deadLettersShowCmd struct {
	ID   string `arg:"" help:"Id of the letter."`
	JSON bool   `name:"json" help:"One JSON object on standard output."`
	endpoint
}

// Run shows a letter.
func (c *deadLettersShowCmd) Run(env *environment) error {
	client := &deadletter.Client{To: c.To, OperatorKey: c.keyOr("demo_operator")}
	shown, err := client.Show(env, c.ID)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(env.stdout).Encode(shown)
	}
	printLetter(env.stdout, &shown.Meta)
	fmt.Fprintf(env.stdout, "%s\n", shown.Payload)
	return nil
}

type deadLettersRedriveCmd struct {
	IDs []string `arg:"" optional:"" name:"id" help:"Ids of letters; all that are open by default."`
	letterQuery
	Map       string   `help:"Corrected map, for rows of files." placeholder:"FILE"`
	Set       []string `help:"Constants of the map: field=value,…" placeholder:"FIELD=VALUE"`
	ServerKey string   `help:"Key that posts the events; the demo's by default." default:"demo_server" env:"SLUICE_SERVER_KEY"`
	JSON      bool     `name:"json" help:"One JSON object on standard output."`
	endpoint
}

// Run drives letters again. Exit code 1 if one of them is still wrong.
func (c *deadLettersRedriveCmd) Run(env *environment) error {
	o := deadletter.RedriveOptions{IDs: c.IDs, Query: c.query()}
	if c.Map != "" {
		m, err := replay.LoadMap(c.Map, c.Set)
		if err != nil {
			return err
		}
		o.Map = replay.NewRemapper(m)
	} else if len(c.Set) > 0 {
		return usage(errors.New("--set: only beside --map"))
	}
	client := &deadletter.Client{To: c.To, OperatorKey: c.keyOr("demo_operator"), ServerKey: c.ServerKey}
	report, err := client.Redrive(env, o)
	if problem := (*httpx.Problem)(nil); errors.As(err, &problem) && problem.Code == "not_found" {
		return usage(err)
	}
	if err != nil {
		return err
	}
	if err := c.print(env.stdout, &report); err != nil {
		return err
	}
	if report.Failed > 0 {
		return errSilent
	}
	return nil
}

func (c *deadLettersRedriveCmd) print(w io.Writer, report *deadletter.Report) error {
	if c.JSON {
		return json.NewEncoder(w).Encode(report)
	}
	for _, r := range report.Results {
		fmt.Fprintf(w, "%s  %s", r.ID, r.Outcome)
		if r.Outcome == "failed" {
			fmt.Fprintf(w, "  %s: %s", place(r.Code, r.Pointer), r.Detail)
		}
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintf(w, "accepted %d, duplicate %d, denied %d, failed %d\n", report.Accepted, report.Duplicate, report.Denied, report.Failed)
	return err
}
