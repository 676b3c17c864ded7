package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"sluice/app"
	"sluice/internal/httpx"
	"sluice/internal/stream"
	"sluice/internal/topics"
)

// cli is the command line.
type cli struct {
	Demo        demoCmd        `cmd:"" help:"Run everything in one process, on an embedded broker and store, with a demo shop."`
	Serve       serveCmd       `cmd:"" help:"Run some or all roles on a Kafka cluster."`
	Replay      replayCmd      `cmd:"" help:"Send the events of files through the stream."`
	DeadLetters deadLettersCmd `cmd:"" name:"dead-letters" help:"List, show and re-drive inputs that could not be accepted."`
	State       stateCmd       `cmd:"" help:"Digest of everything that is kept."`
	Topics      topicsCmd      `cmd:"" help:"Check and create topics."`
	Migrate     migrateCmd     `cmd:"" help:"Bring ClickHouse's tables to this version."`
	Register    registerCmd    `cmd:"" help:"Check, explain and compare the register of purposes and fields."`
	Config      configCmd      `cmd:"" help:"Show and check the configuration."`
	Keys        keysCmd        `cmd:"" help:"Make a root key, or API keys."`
	Version     versionCmd     `cmd:"" help:"Print the version."`
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(env *environment) error {
	fmt.Fprintln(env.stdout, "sluice", version)
	return nil
}

// endpoint is the server that a tool talks to.
type endpoint struct {
	To  string `help:"Address of the server." default:"http://127.0.0.1:8080"`
	Key string `help:"API key; the demo's by default." env:"SLUICE_KEY"`
}

func (e endpoint) keyOr(demo string) string {
	if e.Key != "" {
		return e.Key
	}
	return demo
}

// get asks a server for JSON and turns a problem into an error.
func get(ctx context.Context, to, path, key string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(to, "/")+path, nil)
	if err != nil {
		return usage(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		return json.NewDecoder(answer.Body).Decode(into)
	}
	problem := new(httpx.Problem)
	if err := json.NewDecoder(answer.Body).Decode(problem); err != nil || problem.Code == "" {
		return fmt.Errorf("%s answered %s", path, answer.Status)
	}
	return problem
}

type topicsCmd struct {
	Check  topicsCheckCmd  `cmd:"" help:"Compare the cluster's topics with what they should be. Exit code 1 on drift."`
	Create topicsCreateCmd `cmd:"" help:"Make the topics that are missing."`
}

type topicsCheckCmd struct {
	Config string `help:"Configuration file." type:"path" required:""`
}

// Run prints the drift.
func (c *topicsCheckCmd) Run(env *environment) error {
	cluster, replicas, err := configuredCluster(c.Config)
	if err != nil {
		return err
	}
	drift, err := topics.Check(env, cluster, replicas)
	if err != nil {
		return err
	}
	for _, d := range drift {
		fmt.Fprintln(env.stdout, d)
	}
	if len(drift) > 0 {
		return errSilent
	}
	fmt.Fprintln(env.stdout, "all topics are as they should be")
	return nil
}

type topicsCreateCmd struct {
	Config string `help:"Configuration file." type:"path" required:""`
}

// Run makes the missing topics.
func (c *topicsCreateCmd) Run(env *environment) error {
	cluster, replicas, err := configuredCluster(c.Config)
	if err != nil {
		return err
	}
	return topics.Create(env, cluster, replicas)
}

func configuredCluster(path string) (stream.Cluster, int, error) {
	config, err := app.Load(path)
	if err != nil {
		return stream.Cluster{}, 0, err
	}
	return config.Cluster()
}
