package ingest

// ReadRevision puts the place in the log into the place of the revision that the event names. place tells it, for a revision that the settings gave of this very
// subject ("u:" or "a:", and the id). Any other is not told to have been known at capture: the event is read as if it named none, and a warning says so.
func ReadRevision(ev *Event, place func(text, kind, id string) (string, bool), warnings []Warning) []Warning {
	text := ev.Consent.GetRevision()
	if text == "" {
		return warnings
	}
	kind, id := subject(ev)
	at, ok := place(text, kind, id)
	ev.Consent.Revision = at
	if !ok {
		warnings = append(warnings, Warning{WarnRevision, "/consent/revision", detailRevision})
	}
	return warnings
}
