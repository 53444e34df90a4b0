// What a user of openapi-generator's typescript-fetch client writes.
import assert from "node:assert/strict";
import {
  Configuration, ContactsApi, ContactSort, ErrorAnswerFromJSON, MatchedBy, MessageDirection, MessagesApi, MessageType,
  ResponseError,
} from "./index";

async function main() {
  const configuration = new Configuration({ basePath: process.argv[2] });
  const contacts = new ContactsApi(configuration);
  const phoneNumber = "+4420000003";

  const created = await contacts.createContact({
    contactCreate: { phoneNumber, name: "John Doe", metadata: { plan: "gold" } },
  });
  const id = created.data.id;
  assert.equal(created.data.metadata.plan, "gold");
  assert(created.data.createdAt instanceof Date);

  const page = await contacts.listContacts({ phoneNumber, sort: ContactSort.Created, accountId: "none" });
  assert.deepEqual(page.data.items.map((each) => each.id), [id]);
  assert.equal((await contacts.getContact({ id })).data.name, "John Doe");
  assert.equal((await contacts.updateContact({ id, contactUpdate: { name: null } })).data.name, null);
  assert.equal((await contacts.assignContact({ id, contactAssign: { userId: null } })).data.assignedTo, null);

  const received = await new MessagesApi(configuration).receiveMessage({
    messageReceive: {
      contact: { phoneNumber, profileName: "John" },
      waMessageId: "wamid.fetch",
      direction: MessageDirection.Incoming,
      type: MessageType.Text,
      content: { body: "Hello" },
    },
  });
  assert.equal(received.data.matchedBy, MatchedBy.PhoneNumber);
  assert.equal(received.data.status, null);

  assert.equal((await contacts.deleteContact({ id })).data, null);
  const error: ResponseError = await contacts.getContact({ id }).then(() => assert.fail("still there"), (e) => e);
  assert.equal(error.response.status, 404);
  assert.equal(ErrorAnswerFromJSON(await error.response.json()).code, "contact_not_found");
}

main();
