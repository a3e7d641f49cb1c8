package auth0secrets

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"vault-plugin-secrets-auth0/internal/doctor"
)

// TestDoctorKnowsTheFieldsOfConfig: the JSON object that is written to config can
// be given to the doctor.
func TestDoctorKnowsTheFieldsOfConfig(t *testing.T) {
	fields := slices.Collect(maps.Keys(newEnv(t).b.Route("config").Fields))
	assert.ElementsMatch(t, fields, doctor.ConfigFields)
}
