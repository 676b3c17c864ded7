package main

import (
	"fmt"

	"sluice/app"
)

type serveCmd struct {
	Config string   `help:"Configuration file, merged over the built-in configuration." type:"path" required:""`
	Roles  []string `help:"Roles of this process: collector, filter, features, ranker, risk, warehouse, web. All by default, warehouse only where its store is ClickHouse."`
	Check  bool     `help:"Check the configuration, and exit."`
}

// Run runs the roles on a Kafka cluster that has the topics.
func (c *serveCmd) Run(env *environment) error {
	config, err := app.Load(c.Config)
	if err != nil {
		return err
	}
	node, err := app.New(config, c.Roles, app.Options{Version: version, Stderr: env.stderr, Ready: env.ready})
	if err != nil {
		return err
	}
	if !c.Check {
		return node.Run(env)
	}
	if err := node.Check(); err != nil {
		return err
	}
	fmt.Fprintln(env.stdout, validText)
	return nil
}
