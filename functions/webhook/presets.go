package webhook

import (
	"embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kwatchman/kwatchman/internal/suggest"
)

//go:embed presets/*.tmpl
var bodies embed.FS

// preset is the request that a service wants.
type preset struct {
	url, headers string
	token        string // what the token is called there, if it is required
	whole        bool   // the request is the event itself, as a step of a chain gets it
}

const typeJSON = "Content-Type: application/json"

var presets = map[string]preset{
	"alertmanager": {headers: typeJSON},
	"discord":      {headers: typeJSON},
	"github":       {headers: typeJSON + "\nAccept: application/vnd.github+json\nX-GitHub-Api-Version: 2022-11-28", token: "a token that may write the repository's contents"},
	"grafana":      {headers: typeJSON, token: "the token of a service account"},
	"handler":      {whole: true},
	"json":         {headers: typeJSON},
	"mattermost":   {headers: typeJSON},
	"pagerduty":    {headers: typeJSON, url: "https://events.pagerduty.com/v2/enqueue", token: "the integration's routing key"},
	"teams":        {headers: typeJSON},
}

// fill writes into cfg what the preset knows and the configuration does not say.
func (cfg *Config) fill() (preset, error) {
	p, ok := presets[cfg.Preset]
	if !ok {
		return p, fmt.Errorf("WEBHOOK_PRESET: unknown preset %s%s", suggest.Word(cfg.Preset), suggest.Hint(cfg.Preset, slices.Sorted(maps.Keys(presets))))
	}
	cfg.URL = strings.TrimSpace(cfg.URL) // a mounted secret may end with a line break
	if cfg.URL == "" {
		cfg.URL = p.url
	}
	if cfg.URL == "" {
		return p, errors.New("WEBHOOK_URL is not set: want the URL of the API")
	}
	if p.token != "" && cfg.Token == "" && cfg.TokenFile == "" {
		return p, fmt.Errorf("WEBHOOK_TOKEN is not set: %s wants %s, in it or in WEBHOOK_TOKEN_FILE", cfg.Preset, p.token)
	}
	cfg.Headers = p.headers + "\n" + cfg.Headers // a later one goes over an earlier
	switch {
	case p.whole && cfg.Body != "":
		return p, errors.New("WEBHOOK_BODY is set: the preset handler sends the event as it is")
	case p.whole:
		cfg.Reply = "handler"
	case cfg.Body == "":
		text, err := bodies.ReadFile("presets/" + cfg.Preset + ".tmpl")
		if err != nil {
			return p, err
		}
		cfg.Body = string(text)
	}
	return p, nil
}
