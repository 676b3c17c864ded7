// Command personalmac must not compile: a personalization feature cannot read what its input type does not have.
package main

import "sluice/privacyfilter/purposepb"

func main() {
	var ev purposepb.PersonalEvent
	println(len(ev.Mac))
}
