package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"sluice/app"
)

type demoCmd struct {
	Listen   string `help:"host:port to listen on; port 0 picks a free one." default:"127.0.0.1:8080"`
	Data     string `help:"Data directory; a folder in the user's cache directory by default." type:"path"`
	Shop     string `help:"Demo shop: retail or none." enum:"retail,none" default:"retail"`
	Shoppers count  `help:"Simulated shoppers; 0 turns them off." default:"60"`
	Config   string `help:"Configuration file, merged over the built-in configuration." type:"path"`
	Reset    bool   `help:"Start over: forget everything in the data directory."`
}

// count is a number from 0. Anything else on the command line makes it negative, and Run says what it must be. So -1 is not taken for a flag.
type count int

// Decode reads the flag's value.
func (n *count) Decode(ctx *kong.DecodeContext) error {
	read, err := strconv.Atoi(ctx.Scan.Pop().String())
	if err != nil {
		read = -1
	}
	*n = count(read)
	return nil
}

// Run runs every role in one process, on the embedded broker.
func (c *demoCmd) Run(env *environment) error {
	if c.Shoppers < 0 {
		return usage(errors.New("--shoppers: must be a number, at least 0"))
	}
	config, err := app.Load(c.Config)
	if err != nil {
		return err
	}
	node, err := app.NewDemo(config, app.DemoOptions{
		Options: app.Options{Version: version, Stderr: env.stderr, Ready: func(s *app.Started) {
			env.ready(s)
			fmt.Fprint(env.stdout, demoCommands(s))
		}},
		Listen: c.Listen, Data: c.Data, Shop: c.Shop == "retail", Shoppers: int(c.Shoppers), Reset: c.Reset,
	})
	if err != nil {
		return err
	}
	return node.Run(env)
}

// demoCommands are commands to copy: a visitor accepts, looks at something, gets a personal list, and switches it off.
func demoCommands(s *app.Started) string {
	return strings.NewReplacer("BASE", s.URL, "POLICY", s.Policy, "BROKER", s.Broker).Replace(`
  the shop          BASE/
  settings          BASE/settings/privacy
  the API           BASE/openapi.json
  metrics           curl -s -H 'Authorization: Bearer demo_operator' BASE/metrics
  the broker        BROKER, which speaks Kafka's protocol

  # a visitor accepts the policy; events echo the revision that this gives
  S='Authorization: Bearer demo_server'; J='Content-Type: application/json'
  R=$(curl -s -X PUT BASE/v1/visitors/me/policy -H "$S" -H "$J" -d '{"version":"POLICY","accepted":true}' | sed 's/.*"revision":"\([^"]*\)".*/\1/'); echo "revision $R"
  # … looks at an item
  curl -s BASE/v1/events -H "$S" -H "$J" -d '{"id":"'$(date +%s%N)'","type":"view_item","time":"'$(date -u +%FT%TZ)'",
      "anonymous_id":"me","channel":"web","items":[{"item_id":"85123A"}],"consent":{"revision":"'$R'"}}'
  # … gets recommendations made from it a moment later, each with its reason
  rank() { curl -s BASE/v1/recommendations -H "$S" -H "$J" -d '{"surface":"home","anonymous_id":"me","limit":5}' | tr '{}' '\n\n' |
      sed -n 's|.*"personalized":\([a-z]*\).*|personalized: \1|p; s|^"item_id":"\([^"]*\)","score.*|BASE/shop/items/\1|p; s|^"code.*"text":"\(.*\)"$|    \1|p'; }; rank
  # … and switches them off: now they are everyone's
  curl -s -X PUT BASE/v1/visitors/me/consent/personalize -H "$S" -H "$J" -d '{"decision":"deny"}'; rank

`)
}
