package main

import (
	"fmt"

	"sluice/app"
	"sluice/internal/warehouse"
	"sluice/internal/warehouse/clickhouse"
)

type migrateCmd struct {
	Config string `help:"Configuration file." type:"path" required:""`
	Check  bool   `help:"Only say what would be done. Exit code 1 if something would."`
}

// Run brings ClickHouse's tables to this version.
func (c *migrateCmd) Run(env *environment) error {
	config, err := app.Load(c.Config)
	if err != nil {
		return err
	}
	o, tables, err := config.ClickHouse()
	if err != nil {
		return err
	}
	if o.Logger, err = config.Logger(env.stderr); err != nil {
		return err
	}
	return c.migrate(env, o, tables)
}

func (c *migrateCmd) migrate(env *environment, o clickhouse.Options, tables []*warehouse.Table) error {
	if c.Check {
		pending, err := clickhouse.Pending(env, o, tables)
		if err != nil {
			return err
		}
		for _, name := range pending {
			fmt.Fprintln(env.stdout, "to do:", name)
		}
		if len(pending) > 0 {
			return errSilent
		}
		fmt.Fprintln(env.stdout, "all tables are as they should be")
		return nil
	}
	applied, err := clickhouse.Migrate(env, o, tables)
	for _, name := range applied {
		fmt.Fprintln(env.stdout, "done:", name)
	}
	if err == nil && len(applied) == 0 {
		fmt.Fprintln(env.stdout, "nothing to do")
	}
	return err
}
