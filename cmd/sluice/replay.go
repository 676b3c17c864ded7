package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"sluice/app"
	"sluice/ingest/collector"
	"sluice/replay"
)

type replayCmd struct {
	Events       []string `help:"Files of events, read one after the other: .csv .tsv .jsonl .ndjson .json .parquet, also .gz .zst; - for standard input; a directory of Parquet files, or clickhouse://user@host:port/database/table." placeholder:"FILE"`
	More         []string `arg:"" optional:"" help:"More files of events." name:"file"`
	Items        string   `help:"Catalogue file, sent first: .jsonl or .csv." type:"path" placeholder:"FILE"`
	Map          string   `help:"Map from columns to events; warehouse:TABLE for the warehouse's own tables." placeholder:"FILE" xor:"map"`
	Columns      []string `help:"The map's short form: field=column,…" placeholder:"FIELD=COLUMN" xor:"map"`
	Set          []string `help:"Constants: field=value,…" placeholder:"FIELD=VALUE"`
	AcceptPolicy bool     `help:"The people in the files had accepted the policy in force, in their rows' jurisdiction."`
	Grant        []string `help:"Purposes that the people in the files had allowed; implies --accept-policy." placeholder:"PURPOSE"`
	Format       string   `help:"What standard input, or a file with another extension, holds: csv, tsv, jsonl, ndjson, json or parquet. Standard input is told by its first bytes if absent." enum:",csv,tsv,jsonl,ndjson,json,parquet" default:""`
	Check        bool     `help:"Show the first rows as events, and the columns that nothing reads; send nothing. Exit code 1 if one of them would be rejected."`
	Speed        string   `help:"max, or a multiple of the events' own pace such as 1x." default:"max"`
	MaxRejected  int64    `help:"More rejected rows than this fail the replay, after everything is accounted for." default:"0"`
	Password     string   `help:"Password for clickhouse:// addresses." env:"SLUICE_CLICKHOUSE_PASSWORD" hidden:""`
	JSON         bool     `name:"json" help:"One JSON object on standard output."`
	endpoint
}

// Run replays the files and prints the account.
func (c *replayCmd) Run(env *environment) error {
	m, err := c.loadMap()
	if err != nil {
		return err
	}
	speed, err := replay.ParseSpeed(c.Speed)
	if err != nil {
		return err
	}
	options := replay.Options{
		Events: append(c.Events, c.More...), Items: c.Items, Map: m, AcceptPolicy: c.AcceptPolicy, Grants: c.Grant, Speed: speed, Stdin: os.Stdin,
		To: c.To, Key: c.keyOr("demo_server"), MaxRejected: c.MaxRejected, ClickHousePassword: c.Password, Stderr: env.stderr,
	}
	if c.Format != "" {
		options.Format = "." + c.Format
	}
	if c.Check {
		return c.check(env, options)
	}
	account, err := replay.Run(env, options)
	if account.Read > 0 || err == nil {
		err = errors.Join(err, c.print(env.stdout, account))
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w; the account is what is known so far", errInterrupted)
	}
	return err
}

// check prints what a replay would make of the first rows. It asks no server, so it knows the built-in placeholders alone.
func (c *replayCmd) check(env *environment, options replay.Options) error {
	builtin, err := app.Load("")
	if err != nil {
		return err
	}
	taking, err := collector.Load(builtin.Section)
	if err != nil {
		return err
	}
	options.Forms = taking.Forms
	preview, err := replay.Check(env, options)
	if errors.Is(err, context.Canceled) {
		return errInterrupted
	}
	if c.JSON {
		return errors.Join(err, json.NewEncoder(env.stdout).Encode(preview))
	}
	return errors.Join(err, preview.Print(env.stdout))
}

// loadMap reads the map that the command line names: a file, or the short form. Without one the files must hold events as they are.
func (c *replayCmd) loadMap() (*replay.Map, error) {
	switch {
	case c.Map != "":
		return replay.LoadMap(c.Map, c.Set)
	case len(c.Columns) > 0:
		return replay.Columns(c.Columns, c.Set)
	default:
		return replay.Events(c.Set)
	}
}

func (c *replayCmd) print(w io.Writer, a replay.Account) error {
	if c.JSON {
		return json.NewEncoder(w).Encode(a)
	}
	if a.Unsettled > 0 {
		_, err := fmt.Fprintf(w, "read %d so far: accepted %d, duplicate %d, denied %d, rejected %d, not yet settled %d, in %.1f s (run %s)\n",
			a.Read, a.Accepted, a.Duplicate, a.Denied, a.Rejected, a.Unsettled, a.Seconds, a.Run)
		return err
	}
	_, err := fmt.Fprintf(w, "read %d = accepted %d + duplicate %d + denied %d + rejected %d, in %.1f s (run %s)\n",
		a.Read, a.Accepted, a.Duplicate, a.Denied, a.Rejected, a.Seconds, a.Run)
	return err
}
