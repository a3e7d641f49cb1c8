//go:build !race

package auth0secrets

// raceDetector: the tests run without it.
const raceDetector = false
