#!/bin/sh
# Walks the contract's examples through a running service: [CONTACTS_KEY=...] sh examples/tour.sh [http://127.0.0.1:8000]
# It needs curl, and a key of all scopes once there is any; makes one contact and one flow, and deletes both, also when
# it is interrupted. Its account is a new one each time, so that it never meets contacts of others.
set -eu
url=${1:-http://127.0.0.1:8000}
account=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n' | sed 's/\(.\{8\}\)\(.\{4\}\)\(.\{4\}\)\(.\{4\}\)/\1-\2-\3-\4-/')
flow=$account
user=2b7d9a52-2f0c-4d55-8a6f-0c7c4e3f1d11

delete() {
  curl -sS -o /dev/null -X DELETE "$url$1" ${CONTACTS_KEY:+-H "X-API-Key: $CONTACTS_KEY"} || true
}
clean_up() {
  left=$(curl -sS "$url/api/contacts?account_id=$account" ${CONTACTS_KEY:+-H "X-API-Key: $CONTACTS_KEY"} |
    sed -n 's/.*"items":\[{"id":"\([^"]*\)".*/\1/p') || true
  [ -z "$left" ] || delete "/api/contacts/$left"
  delete "/api/flows/$flow"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# call METHOD PATH EXPECTED-STATUS [BODY]: prints the exchange, leaves the answer in $answer, stops on another status.
call() {
  printf '\n%s %s %s\n' "$1" "$2" "${4:-}"
  if [ $# -gt 3 ]; then
    answer=$(curl -sS -X "$1" "$url$2" -w '\n%{http_code}' ${CONTACTS_KEY:+-H "X-API-Key: $CONTACTS_KEY"} \
      -H 'Content-Type: application/json' -d "$4")
  else
    answer=$(curl -sS -X "$1" "$url$2" -w '\n%{http_code}' ${CONTACTS_KEY:+-H "X-API-Key: $CONTACTS_KEY"})
  fi
  status=${answer##*
}
  answer=${answer%
*}
  printf '%s %s\n' "$status" "$answer"
  [ "$status" = "$3" ] || { echo "expected $3" >&2; exit 1; }
}

# has TEXT: stops unless the last answer holds it.
has() {
  case $answer in *"$1"*) ;; *) echo "expected $1" >&2; exit 1 ;; esac
}

call GET /readyz 200

# Create; the same number written in another way is a conflict that names the contact.
call POST /api/contacts 201 \
  '{"phone_number": "+1234567890", "name": "John Doe", "account_id": "'$account'", "metadata": {"custom_field": "value"}}'
id=$(printf %s "$answer" | sed 's/.*"data":{"id":"\([^"]*\)".*/\1/')
call POST /api/contacts 409 '{"phone_number": "00 1 (234) 567-890", "account_id": "'$account'"}'
has "$id"

# List: by page, by account, by search.
call GET "/api/contacts?page=1&limit=20&account_id=$account" 200
has "$id"
call GET "/api/contacts?search=DOE%20john&account_id=$account" 200
has '"total":1'

# Get, update, assign.
call GET "/api/contacts/$id" 200
has '"metadata":{"custom_field":"value"}'
call PUT "/api/contacts/$id" 200 '{"name": "John Smith", "metadata": {"custom_field": "updated_value"}}'
has '"name":"John Smith"'
call PUT "/api/contacts/$id/assign" 200 '{"user_id": "'$user'"}'
has "\"assigned_to\":\"$user\""

# Session data: a flow with its panel, a session, one more variable, the panel an agent sees.
call GET "/api/contacts/$id/session-data" 200
has '"panel_config":{"sections":[]}'
call PUT "/api/flows/$flow" 201 '{"name": "Customer Support Flow", "panel_config": {"sections": [
  {"id": "customer", "label": "Customer Info", "columns": 1, "collapsible": true, "default_collapsed": false, "order": 1,
   "fields": [{"key": "customer_name", "label": "Name", "order": 1}, {"key": "customer_email", "label": "Email", "order": 2}]},
  {"id": "order", "label": "Order Details", "columns": 2, "collapsible": true, "default_collapsed": true, "order": 2,
   "fields": [{"key": "order_id", "label": "Order ID", "order": 1}, {"key": "order_status", "label": "Status", "order": 2}]}]}}'
call PUT "/api/contacts/$id/session-data" 201 '{"flow_id": "'$flow'", "session_data":
  {"customer_name": "John Doe", "customer_email": "john@example.com", "order_id": "ORD-12345"}}'
call PATCH "/api/contacts/$id/session-data" 200 '{"session_data": {"order_status": "shipped"}}'
call GET "/api/contacts/$id/session-data" 200
has '"order_status":"shipped"'
has '"flow_name":"Customer Support Flow"'
call GET "/api/contacts/$id/sessions" 200

# Conversation history: an incoming message, the same again, an answer and what became of it.
call POST /api/messages 201 '{"account_id": "'$account'", "contact": {"phone_number": "1234567890", "profile_name": "John"},
  "wa_message_id": "wamid.tour1", "direction": "incoming", "type": "text", "content": {"body": "Where is my order?"}}'
has "\"contact_id\":\"$id\""
has '"matched_by":"phone_number"'
call POST "/api/contacts/$id/messages" 200 '{"wa_message_id": "wamid.tour1", "direction": "incoming", "type": "text",
  "content": {"body": "Where is my order?"}}'
call POST "/api/contacts/$id/messages" 201 '{"wa_message_id": "wamid.tour2", "direction": "outgoing", "type": "text",
  "content": {"body": "On its way."}}'
call PUT /api/messages/status 200 '{"account_id": "'$account'", "wa_message_id": "wamid.tour2", "status": "delivered"}'
has '"status":"delivered"'

# An agent's day: my contacts, one of them, its panel, its history, read, tagged, handed on.
call GET "/api/contacts?assigned_to=$user&sort=recent&limit=5" 200
has '"unread_count":1'
call GET "/api/contacts/$id" 200
has '"name":"John Smith","profile_name":"John"'
has '"service_window_open":true'
call GET "/api/contacts/$id/session-data" 200
call GET "/api/contacts/$id/messages?limit=50" 200
has '"has_more":false'
call POST "/api/contacts/$id/mark-read" 200
has '"unread_count":0'
call PATCH "/api/contacts/$id" 200 '{"tags": ["vip"], "metadata": {"plan": "gold"}}'
has '"metadata":{"custom_field":"updated_value","plan":"gold"}'
call GET "/api/contacts?tags=vip,new&account_id=$account" 200
has "$id"
call PUT "/api/contacts/$id/assign" 200 '{"user_id": null}'

# What goes wrong is told in the same envelope.
call POST /api/contacts 400 '{"phone_number": "12", "nmae": "John"}'
has '"errors":{"'
call GET /api/contacts/not-a-uuid 400

# Delete is final.
call DELETE "/api/contacts/$id" 200
has '"data":null'
call GET "/api/contacts/$id" 404
call DELETE "/api/flows/$flow" 200

printf '\nThe tour is complete.\n'
