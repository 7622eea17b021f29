package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/Masterminds/sprig/v3"

	template "github.com/DataDog/datadog-agent/pkg/template/text"

	"github.com/kwatchman/kwatchman/internal/templates"
)

// functions are sprig's, without those that read the environment or the
// network, or give something else at another attempt, or take long, and our own.
func functions() template.FuncMap {
	out := sprig.HermeticTxtFuncMap()
	for _, name := range []string{
		"bcrypt", "htpasswd", "derivePassword", "genPrivateKey", "genCA", "genCAWithKey", "genSelfSignedCert", "genSelfSignedCertWithKey",
		"genSignedCert", "genSignedCertWithKey", "buildCustomCert", "encryptAES", "decryptAES", "randBytes", "shuffle",
	} {
		delete(out, name)
	}
	maps.Copy(out, template.FuncMap{
		"json": asJSON, "toJson": asJSON, "toRawJson": asJSON,
		"inJSON": inJSON, "inURL": inURL, "inHeader": inHeader,
		"raw": func(v any) literal { return literal(templates.Text(v)) },
		"cut": cut, "markdown": markdown, "unfence": unfence,
		"html": func(v any) string { return template.HTMLEscapeString(templates.Text(v)) },
	})
	return out
}

// literal is text that stands in JSON as it is.
type literal string

// asJSON is a whole JSON value.
func asJSON(v any) (literal, error) {
	raw, err := marshal(v)
	return literal(raw), err
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// inJSON is what is put out where a template gives JSON: text that may stand
// between quotes, so that no value ends them; a number or a bool is its own text.
func inJSON(v any) (string, error) {
	if l, ok := v.(literal); ok {
		return string(l), nil
	}
	raw, err := marshal(strings.ToValidUTF8(templates.Text(v), "\uFFFD"))
	if err != nil {
		return "", err
	}
	return string(raw[1 : len(raw)-1]), nil
}

// cut keeps the first most characters, and says how many are left out.
func cut(most int, v any) string {
	text := templates.Text(v)
	n := utf8.RuneCountInString(text)
	if n <= most {
		return text
	}
	left := fmt.Sprintf("… (%d characters left out)", n-most)
	r := []rune(text)
	return string(r[:max(0, most-utf8.RuneCountInString(left))]) + left
}

// markdown is text in which nothing formats, links or mentions.
func markdown(v any) string {
	return markdownEscapes.Replace(templates.Text(v))
}

var markdownEscapes = strings.NewReplacer("\\", "\\\\", "`", "\\`", "*", "\\*", "_", "\\_", "[", "\\[", "]", "\\]", "<", "\\<", ">", "\\>",
	"~", "\\~", "|", "\\|", "#", "\\#", "!", "\\!", "@", "@\u200b", "\n", " ", "\r", " ")

// unfence is text that does not end a block of code.
func unfence(v any) string { return strings.ReplaceAll(templates.Text(v), "```", "`\u200b``") }

// inURL is what is put out in a URL: nothing of an event can end a segment or a
// parameter.
func inURL(v any) string {
	if l, ok := v.(literal); ok {
		return string(l)
	}
	return strings.ReplaceAll(url.QueryEscape(templates.Text(v)), "+", "%20")
}

// inHeader is what is put out in a header: one line.
func inHeader(v any) string {
	text := templates.Text(v)
	if l, ok := v.(literal); ok {
		text = string(l)
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}
