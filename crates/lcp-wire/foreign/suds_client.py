"""Speak the protocol of 2003 with suds-community, as the description of an issuer says.

Usage: suds_client.py WSDL_URL HOLDER.crt HOLDER.key ISSUER.crt RECIPIENT_HEX

Asks what arrived, pays, and asks again, each message twice, as one does whose answer was lost; tries what must be
refused; prints one JSON object. The issuer must show ISSUER.crt.
"""

import json
import ssl
import sys
import urllib.request

from suds import WebFault
from suds.client import Client
from suds.transport.https import HttpTransport


class MutualTls(HttpTransport):
    """Shows the holder's certificate, and believes the issuer's alone."""

    def __init__(self, certificate, key, issuer):
        HttpTransport.__init__(self)
        self.context = ssl.create_default_context(cafile=issuer)
        self.context.load_cert_chain(certificate, key)

    def u2handlers(self):
        return [urllib.request.HTTPSHandler(context=self.context)]


def main(wsdl, certificate, key, issuer, recipient):
    client = Client(wsdl, transport=MutualTls(certificate, key, issuer), cache=None)

    def pay(counter, amount):
        try:
            paid = client.service.transfer(recipient, amount, "bob1234567890", counter)
            return {"result": str(paid.result), "fee": float(paid.fee)}
        except WebFault as fault:
            return {"fault": str(fault.fault.detail.fault.code)}

    def ask(counter):
        told = client.service.query(0, counter)
        deposits = told.deposits
        items = getattr(deposits, "item", deposits) or []
        return {
            "balance": float(told.balance),
            "fee": float(told.fee),
            "deposits": [{"amount": float(it.amount), "id": str(it.id)} for it in items],
        }

    return {
        "client": "suds",
        "before": ask(0),
        "before_again": ask(0),
        "paid": pay(1, 100.0),
        "again": pay(1, 100.0),
        "other": pay(1, 200.0),
        "after": ask(0),
        "broke": pay(1, 1e7),
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
