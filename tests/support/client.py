"""The raw client that penstock.testing has for everybody."""

from penstock.testing.client import PATIENCE as PATIENCE
from penstock.testing.client import Answer as Answer
from penstock.testing.client import BadAnswer as BadAnswer
from penstock.testing.client import Client as Client
from penstock.testing.client import ask as ask
from penstock.testing.client import request as request
