package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"sluice/app"
	"sluice/internal/stream"
)

type stateCmd struct {
	Digest digestCmd `cmd:"" help:"Digest of the state, per store: equal logs give equal digests. Exit code 1 if something is still to be processed."`
}

type digestCmd struct {
	Data   string `help:"Data directory of a stopped demo." type:"path" xor:"where"`
	To     string `help:"Address of a running server." xor:"where"`
	Config string `help:"Configuration file that the demo ran with, for kafka.prefix; only with --data." type:"path"`
	Key    string `help:"Operator key; the demo's by default." env:"SLUICE_KEY" default:"demo_operator"`
	JSON   bool   `name:"json" help:"One JSON object on standard output."`
}

// Run prints the digest.
func (c *digestCmd) Run(env *environment) error {
	digest, err := c.digest(env)
	if err != nil {
		return err
	}
	if c.JSON {
		err = json.NewEncoder(env.stdout).Encode(digest)
	} else {
		printDigest(env.stdout, digest)
	}
	if err == nil && digest.Lag > 0 {
		return fmt.Errorf("lag %d: the digest is not final", digest.Lag)
	}
	return err
}

func (c *digestCmd) digest(env *environment) (*stream.StateDigest, error) {
	if (c.Data == "") == (c.To == "") {
		return nil, usage(errors.New("state digest: there must be one of --data DIR and --to URL"))
	}
	if c.To != "" {
		digest := new(stream.StateDigest)
		return digest, get(env, c.To, "/v1/state/digest", c.Key, digest)
	}
	config, err := app.Load(c.Config)
	if err != nil {
		return nil, err
	}
	return app.Digest(env, config, c.Data)
}

func printDigest(w io.Writer, digest *stream.StateDigest) {
	fmt.Fprintf(w, "%s lag=%d\n", digest.Digest, digest.Lag)
	for _, s := range digest.Stores {
		fmt.Fprintf(w, "  %-22s %10d  %s\n", s.Name, s.Keys, s.Digest)
	}
}
