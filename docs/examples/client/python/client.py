"""Asks for a customer's window, sends a message, and lists what happened to it.

It prints one line of JSON for each answer, or for the error, and is made to be copied.
"""

import argparse
import json
import sys
import uuid
from pathlib import Path

import grpc
from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2
from grpc_status import rpc_status

# Generated: python generate.py
sys.path.insert(0, str(Path(__file__).parent / "gen"))
from casement.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from casement.events.v1 import message_pb2 as v1
from casement.message.v1 import message_service_pb2, message_service_pb2_grpc
from casement.window.v1 import window_service_pb2, window_service_pb2_grpc

TIMEOUT_SECONDS = 30

# What was not answered is asked again. For a message that is safe because of its request_id.
RETRIES = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


def arguments():
    parser = argparse.ArgumentParser(description="Send a message and follow it.")
    parser.add_argument("--api", default="http://127.0.0.1:8081", help="Casement's address")
    parser.add_argument("--token-file", type=Path, required=True, help="file with the API token")
    parser.add_argument("--number", required=True, help="the business number, as in +15550001111")
    parser.add_argument("--to", required=True, help="the customer's phone, as in +15550002222")
    parser.add_argument("--text", required=True, help="what to say")
    parser.add_argument("--request-id", help="the same id again is the same message")
    return parser.parse_args()


def main():
    args = arguments()
    # With every call: who calls, and how long to wait.
    call = {
        "metadata": [("authorization", f"Bearer {args.token_file.read_text().strip()}")],
        "timeout": TIMEOUT_SECONDS,
    }
    with connect(args.api) as channel:
        try:
            tell("window", get_window(channel, args, call))
            sent = send(channel, args, call)
            tell("message", sent.message)
            for event in list_events(channel, sent, call):
                tell("event", event)
        except grpc.RpcError as error:
            print(json.dumps({"error": explain(error)}))
            sys.exit(1)


def connect(api):
    scheme, _, address = api.partition("://")
    options = [("grpc.service_config", json.dumps(RETRIES))]
    if scheme == "https":
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(), options)
    return grpc.insecure_channel(address, options)


def get_window(channel, args, call):
    request = window_service_pb2.GetWindowRequest(
        number=args.number,
        customer=window_service_pb2.CustomerRef(to=args.to),
    )
    return window_service_pb2_grpc.WindowServiceStub(channel).GetWindow(request, **call).window


def send(channel, args, call):
    request = message_service_pb2.SendMessageRequest(
        number=args.number,
        to=args.to,
        # Free-form while the window is open, else SMS. A template would come between the two.
        content=v1.Content(
            free_form=v1.FreeForm(text=args.text),
            sms=v1.SmsContent(text=args.text),
        ),
        purpose=v1.PURPOSE_SERVICE,
        # Keep it with what the message is about, so that it is the same after a crash of yours.
        request_id=args.request_id or str(uuid.uuid4()),
        # The answer comes once a provider was called. Without it, once the message is on disk.
        wait_for=message_service_pb2.WAIT_FOR_ATTEMPTED,
    )
    return message_service_pb2_grpc.MessageServiceStub(channel).SendMessage(request, **call)


def list_events(channel, sent, call):
    request = audit_service_pb2.ListEventsRequest(
        message_id=sent.message.message_id,
        # Answer from an archive that has what was just written, not from an older one.
        not_before=sent.position,
    )
    stub = audit_service_pb2_grpc.AuditServiceStub(channel)
    while True:
        page = stub.ListEvents(request, **call)
        yield from page.events
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def explain(error):
    """Branch on code and reason; the message is for people and may change."""
    status = rpc_status.from_call(error)
    reason = error_details_pb2.ErrorInfo()
    for detail in status.details if status else ():
        detail.Unpack(reason)
    return {
        "code": error.code().name,
        "reason": reason.reason,
        "message": error.details(),
    }


def tell(what, message):
    print(json.dumps({what: MessageToDict(message)}))


if __name__ == "__main__":
    main()
