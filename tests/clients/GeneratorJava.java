// What a user of openapi-generator's Java client writes.
import java.util.Map;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.ContactsApi;
import org.openapitools.client.api.MessagesApi;
import org.openapitools.client.model.*;

public class GeneratorJava {
  static void check(boolean ok, String what) {
    if (!ok) throw new AssertionError(what);
  }

  public static void main(String[] arguments) throws ApiException {
    ApiClient client = new ApiClient().setBasePath(arguments[0]);
    ContactsApi contacts = new ContactsApi(client);
    String number = "+4420000005";

    ContactCreate body = new ContactCreate().phoneNumber(number).name("John Doe").metadata(Map.of("plan", "gold"));
    Contact created = contacts.createContact(body, null, null).getData();
    check("gold".equals(created.getMetadata().get("plan")), "metadata");

    ContactPage page =
        contacts.listContacts(null, null, "none", null, null, number, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, 10, ContactSort.CREATED)
            .getData();
    check(page.getTotal() == 1 && page.getItems().get(0).getId().equals(created.getId()), "list");
    check(contacts.getContact(created.getId(), null).getData().getName().equals("John Doe"), "get");
    ContactUpdate update = new ContactUpdate().name("John Smith");
    check(contacts.updateContact(created.getId(), update, null, null).getData().getName().equals("John Smith"), "update");
    ContactAssign assign = new ContactAssign().userId(created.getId());
    Contact assigned = contacts.assignContact(created.getId(), assign, null, null).getData();
    check(assigned.getAssignedTo().equals(created.getId()), "assign");

    MessageReceive message = new MessageReceive()
        .contact(new ContactIdentity().phoneNumber(number).profileName("John"))
        .waMessageId("wamid.java").direction(MessageDirection.INCOMING).type(MessageType.TEXT)
        .content(Map.of("body", "Hello"));
    ReceivedMessage received = new MessagesApi(client).receiveMessage(message, null, null).getData();
    check(received.getMatchedBy() == MatchedBy.PHONE_NUMBER && received.getStatus() == null, "message");

    check(contacts.deleteContact(created.getId(), null, null).getData() == null, "delete");
    try {
      contacts.getContact(created.getId(), null);
      check(false, "the contact is still there");
    } catch (ApiException error) {
      check(error.getCode() == 404 && error.getResponseBody().contains("\"contact_not_found\""), "error");
    }
  }
}
