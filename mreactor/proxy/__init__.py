"""What a balancer or proxy in front of the server says about its clients: PROXY headers and forwarded fields."""

from .forwarded import Forwarding
from .preface import ProxyPreface

__all__ = ["Forwarding", "ProxyPreface"]
