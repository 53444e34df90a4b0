"""What a user of openapi-generator's Python client writes."""

import sys

import openapi_client
from openapi_client import (
    ContactAssign,
    ContactCreate,
    ContactIdentity,
    ContactSort,
    ContactUpdate,
    MatchedBy,
    MessageDirection,
    MessageReceive,
    MessageType,
)

client = openapi_client.ApiClient(openapi_client.Configuration(host=sys.argv[1]))
contacts = openapi_client.ContactsApi(client)

number = "+4420000001"
created = contacts.create_contact(ContactCreate(phone_number=number, name="John Doe", metadata={"plan": "gold"})).data
assert created.metadata == {"plan": "gold"}
page = contacts.list_contacts(phone_number=number, sort=ContactSort.CREATED, account_id="none").data
assert [contact.id for contact in page.items] == [created.id]
assert contacts.get_contact(created.id).data.name == "John Doe"
assert contacts.update_contact(created.id, ContactUpdate(name=None)).data.name is None
assert contacts.assign_contact(created.id, ContactAssign(user_id=None)).data.assigned_to is None
received = (
    openapi_client.MessagesApi(client)
    .receive_message(
        MessageReceive(
            contact=ContactIdentity(phone_number=number, profile_name="John"),
            wa_message_id="wamid.python",
            direction=MessageDirection.INCOMING,
            type=MessageType.TEXT,
            content={"body": "Hello"},
        )
    )
    .data
)
assert (received.matched_by, received.status) == (MatchedBy.PHONE_NUMBER, None)
assert contacts.delete_contact(created.id).data is None
code = None
try:
    contacts.get_contact(created.id)
except openapi_client.exceptions.NotFoundException as error:
    code = error.data.code
assert code == "contact_not_found"
