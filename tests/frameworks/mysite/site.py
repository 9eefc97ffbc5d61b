"""The application with its static files beside it, which mreactor serves itself."""

from functools import partial

from django.conf import settings

from mreactor import App
from mreactor.app import StaticFiles
from tests.frameworks.mysite.wsgi import application

app = App()
app.mount("/static/", partial(StaticFiles, settings.STATIC_ROOT, prefix="/static/"), constant=True)
app.mount_wsgi("/", application)
