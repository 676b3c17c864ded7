package privacyfilter

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sluice/ingest"
)

func TestDenied(t *testing.T) {
	r := mustLoad(t)
	const (
		optional = "personalize marketing.first_party marketing.third_party marketing.sms marketing.push"
		all      = "history trending " + optional
	)
	for _, c := range []struct {
		word, want string
		exact      bool
	}{
		{"personalize", "personalize", true},
		{"history", "history", true},
		{"risk", "risk", true},
		{"PERSONALIZE", "personalize", false},
		{" Marketing.SMS ", "marketing.sms", false},
		{"personalise", optional, false},
		{"marketing", optional, false},
		{"histroy", "history " + optional, false},
		{"", optional, false},
		{"*", all, false},
		{"ALL", all, false},
		{"nonsense", optional, false},
	} {
		got, exact := r.Denied(c.word)
		if strings.Join(got, " ") != c.want || exact != c.exact {
			t.Errorf("%q: got %q, %v; want %q, %v", c.word, got, exact, c.want, c.exact)
		}
	}
}

func TestAdditionalPurposesHaveNoDefault(t *testing.T) {
	_, err := load(t, `    legal_basis: {CN: separate_consent, EU: consent}`, "    legal_basis: {CN: separate_consent, EU: consent}\n    default: {EU: deny, CN: allow}")
	if err == nil || !strings.Contains(err.Error(), "must be deny: a purpose of tier additional") || !strings.HasPrefix(err.Error(), "register.yaml:") {
		t.Errorf("got %v, want what must be, with the line", err)
	}
}

// FuzzDenials: whatever stands in an event's consent, nothing is allowed that it may deny. What is not exactly a consent denies all that people can choose.
func FuzzDenials(f *testing.F) {
	for _, consent := range []string{
		`{}`, `null`, `{"denied":["personalize"]}`, `{"denied":["personalise","*"],"gpc":true}`, `{"denied":"x"}`, `{"gpc":"1"}`, `{"denied":["MARKETING.SMS"],"denied":[]}`,
		`{"revision":"1-2-3","gpc":false,"denied":["history"]}`, `{"optout":true}`, `[]`, `{"denied":[null,1,{"a":[]}]}`, `{"denied":["\ud800"]}`, "{\"denied\":[\"\xff\"]}",
	} {
		f.Add(consent)
	}
	r := mustLoad(f)
	var optional []string
	for _, p := range r.Purposes() {
		if p.Tier.Optional() {
			optional = append(optional, p.Name)
		}
	}
	f.Fuzz(func(t *testing.T, consent string) {
		ev, warnings, fault := ingest.Decode([]byte(`{"id":"e","type":"page_view","time":"2026-03-01T10:00:00Z","user_id":"u","consent":` + consent + `}`))
		if fault != nil {
			return // nothing of it is kept
		}
		warnings = ingest.ReadDenied(ev, r.Denied, warnings)
		denies := func(purpose string) bool {
			p, _ := r.Purpose(purpose)
			return slices.Contains(ev.Consent.GetDenied(), purpose) || p.Narrows(ev.Consent.GetGpc())
		}
		words, clear := readConsent(consent)
		for _, word := range words {
			for _, p := range r.Purposes() {
				if strings.EqualFold(strings.TrimSpace(word), p.Name) && !denies(p.Name) {
					t.Fatalf("%s denies %s, and it is allowed", consent, p.Name)
				}
			}
			if _, exact := r.Denied(word); !exact && !slices.ContainsFunc(warnings, func(w ingest.Warning) bool { return w.Code == ingest.WarnConsentUnclear }) {
				t.Fatalf("%s: no warning of %q", consent, word)
			}
			if _, known := r.Purpose(strings.ToLower(strings.TrimSpace(word))); !known {
				clear = false
			}
		}
		for _, purpose := range optional {
			if !clear && !denies(purpose) {
				t.Fatalf("%s is not clear, and %s is allowed", consent, purpose)
			}
		}
	})
}

// readConsent reads the words that a consent denies as loosely as it can. clear: it is nothing but {revision, gpc, denied}, each of its type.
func readConsent(consent string) (words []string, clear bool) {
	var exact struct {
		Revision *string   `json:"revision"`
		GPC      *bool     `json:"gpc"`
		Denied   []*string `json:"denied"`
	}
	d := json.NewDecoder(strings.NewReader(consent))
	d.DisallowUnknownFields()
	clear = d.Decode(&exact) == nil
	for _, word := range exact.Denied {
		if word == nil {
			clear = false
			continue
		}
		words = append(words, *word)
	}
	var loose struct {
		Denied any `json:"denied"`
	}
	if json.Unmarshal([]byte(consent), &loose) == nil {
		if list, ok := loose.Denied.([]any); ok {
			for _, word := range list {
				if text, ok := word.(string); ok && !slices.Contains(words, text) {
					words = append(words, text)
				}
			}
		} else if loose.Denied != nil {
			words = append(words, fmt.Sprint(loose.Denied))
		}
	}
	return words, clear
}
