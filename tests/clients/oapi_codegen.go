// What a user of oapi-codegen's client writes.
package main

import (
	"context"
	"log"
	"os"

	"client/contacts"
)

func check(ok bool, what string) {
	if !ok {
		log.Fatal(what)
	}
}

func try[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func main() {
	ctx := context.Background()
	client := try(contacts.NewClientWithResponses(os.Args[1]))
	number, name, profile := "+4420000004", "John Doe", "John"

	body := contacts.ContactCreate{PhoneNumber: &number, Name: &name, Metadata: &map[string]any{"plan": "gold"}}
	created := try(client.CreateContactWithResponse(ctx, nil, body))
	check(created.JSON201 != nil, string(created.Body))
	contact := created.JSON201.Data
	check(contact.Metadata["plan"] == "gold", "metadata")

	sort := contacts.ContactSort("created")
	query := contacts.ListContactsParams{PhoneNumber: &number, Sort: &sort}
	page := try(client.ListContactsWithResponse(ctx, &query))
	check(page.JSON200.Data.Total == 1 && page.JSON200.Data.Items[0].Id == contact.Id, "list")

	got := try(client.GetContactWithResponse(ctx, contact.Id, nil))
	check(*got.JSON200.Data.Name == name, "get")

	smith := "John Smith"
	updated := try(client.UpdateContactWithResponse(ctx, contact.Id, nil, contacts.ContactUpdate{Name: &smith}))
	check(*updated.JSON200.Data.Name == smith && updated.JSON200.Data.Version == 2, "update")

	assigned := try(client.AssignContactWithResponse(ctx, contact.Id, nil, contacts.ContactAssign{UserId: nil}))
	check(assigned.JSON200.Data.AssignedTo == nil, "assign")

	wamid := "wamid.go"
	received := try(client.ReceiveMessageWithResponse(ctx, nil, contacts.MessageReceive{
		Contact:     contacts.ContactIdentity{PhoneNumber: &number, ProfileName: &profile},
		WaMessageId: &wamid,
		Direction:   contacts.MessageDirection("incoming"),
		Type:        contacts.MessageType("text"),
		Content:     map[string]any{"body": "Hello"},
	}))
	check(received.JSON201 != nil, string(received.Body))
	check(*received.JSON201.Data.MatchedBy == contacts.MatchedBy("phone_number"), "matched_by")
	check(received.JSON201.Data.Status == nil, "status")

	deleted := try(client.DeleteContactWithResponse(ctx, contact.Id, nil))
	check(deleted.JSON200 != nil, string(deleted.Body))
	gone := try(client.GetContactWithResponse(ctx, contact.Id, nil))
	check(gone.JSON404 != nil && gone.JSON404.Code == "contact_not_found", "error")
}
