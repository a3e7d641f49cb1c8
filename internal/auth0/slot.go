package auth0

import "encoding/json"

// KeysInUse is how many keys the application may log in with, by private_key_jwt. 0:
// none, or it is not shown.
func (a *Application) KeysInUse() int {
	var method struct {
		Credentials []credential `json:"credentials"`
	}
	if json.Unmarshal(a.ClientAuthenticationMethods[methodPrivateKey], &method) != nil {
		return 0
	}
	return len(method.Credentials)
}

// RoomForKey says whether an application that uses so many keys may use one more. More
// than slotSize means that the tenant has the add-on.
func RoomForKey(used int) bool { return used != slotSize && used < poolSize }
