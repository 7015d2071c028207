"""Speak the protocol of 2003 with zeep, as the description of an issuer says.

Usage: zeep_client.py WSDL_URL HOLDER.crt HOLDER.key ISSUER.crt RECIPIENT_HEX

Asks what arrived, pays, and asks again, each message twice, as one does whose answer was lost; tries what must be
refused; prints one JSON object. The issuer must show ISSUER.crt.
WSDL_URL may be that of either description.
"""

import json
import sys
from decimal import Decimal

import requests
import zeep
from zeep.exceptions import Fault
from zeep.transports import Transport


def main(wsdl, certificate, key, issuer, recipient):
    session = requests.Session()
    # Or a bundle that the environment names would be believed instead.
    session.trust_env = False
    session.cert = (certificate, key)
    session.verify = issuer
    client = zeep.Client(wsdl, transport=Transport(session=session))
    literal = "literal" in wsdl

    def pay(counter, amount):
        # A double for the description of 2003, an exact decimal for the other.
        amount = Decimal(amount) if literal else float(amount)
        try:
            paid = client.service.transfer(recipient, amount, "bob1234567890", counter)
            return {"result": paid["result"], "fee": float(paid["fee"])}
        except Fault as fault:
            return {"fault": fault.detail.findtext(".//{*}code")}

    def ask(counter):
        told = client.service.query(0, counter)
        deposits = told["deposits"]
        if deposits is not None and not isinstance(deposits, list):
            deposits = deposits["Transaction"] if literal else deposits["_value_1"]
        return {
            "balance": float(told["balance"]),
            "fee": float(told["fee"]),
            "deposits": [{"amount": float(it["amount"]), "id": it["id"]} for it in deposits or []],
        }

    return {
        "client": "zeep literal" if literal else "zeep encoded",
        "before": ask(0),
        "before_again": ask(0),
        "paid": pay(1, "100"),
        "again": pay(1, "100"),
        "other": pay(1, "200"),
        "after": ask(0),
        "broke": pay(1, "10000000"),
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
