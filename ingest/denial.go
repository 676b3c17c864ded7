package ingest

import (
	"slices"
	"strconv"
)

// ReadDenied replaces the words that the event denies by purposes. read says which purposes a word may have meant, and whether the word is a purpose as it stands.
// The first word that is none makes a warning, unless there is a warning of unclear consent already.
func ReadDenied(ev *Event, read func(word string) (purposes []string, exact bool), warnings []Warning) []Warning {
	words := ev.Consent.GetDenied()
	if len(words) == 0 {
		return warnings
	}
	told := slices.ContainsFunc(warnings, func(w Warning) bool { return w.Code == WarnConsentUnclear })
	denied := make([]string, 0, len(words))
	for i, word := range words {
		purposes, exact := read(word)
		for _, purpose := range purposes {
			if !slices.Contains(denied, purpose) {
				denied = append(denied, purpose)
			}
		}
		if !exact && !told {
			told = true
			warnings = append(warnings, Warning{WarnConsentUnclear, "/consent/denied/" + strconv.Itoa(i), detailWord})
		}
	}
	ev.Consent.Denied = denied
	return warnings
}
