// Command riskmac compiles: the risk purpose holds the pseudonym of a MAC address.
package main

import "sluice/privacyfilter/purposepb"

func main() {
	var ev purposepb.RiskEvent
	println(len(ev.Mac))
}
