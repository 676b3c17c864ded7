package ingest

import (
	"slices"
	"strconv"
)

// ReadDenied puts purposes in the place of the words that the event denies. read says which a word may have meant, and whether it is exactly one. Of words that
// are not, the first is told in a warning, unless one says already that the event's consent is unclear.
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
